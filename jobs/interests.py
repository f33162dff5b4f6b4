"""Mine each user's interests into user_interest, one row each time they change.

    spark-submit jobs/interests.py --config sail.yaml --as-of 2026-03-31 --every 1d

Costs one shuffle of ids and times, and some 0.25 ms of CPU a snapshot at 384 dimensions.
Running it again replaces its as_of partition with the same data. The package must be
installed on the driver and on the executors.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["interests", *sys.argv[1:]])
