"""Write each user's newest events into user_history, for serving.

    spark-submit jobs/history.py --config sail.yaml --as-of 2026-03-31

Costs one shuffle of the events.
Running it again replaces its as_of partition with the same data. The package must be
installed on the driver and on the executors.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["history", *sys.argv[1:]])
