"""Count each user's likes by global cluster into user_cluster, one row each time they change.

    spark-submit jobs/clusters.py --config sail.yaml --as-of 2026-03-31 --fit-until 2026-01-01

Costs one shuffle of ids and times. The first run fits the clusters on the driver; later
ones keep them, unless --fit-until is given. Running it again replaces its as_of partition
with the same data. The package must be installed on the driver and on the executors.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["clusters", *sys.argv[1:]])
