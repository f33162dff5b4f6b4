"""Mine pairs of items that the same users engage with into item_pair.

    spark-submit jobs/pairs.py --config sail.yaml --trained-until 2026-01-31

Give the same --trained-until as to what is trained on the pairs. Costs one shuffle of the
events and one of each user's pairs. Running it again replaces its partition with the same
data. The package must be installed on the driver and on the executors.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["pairs", *sys.argv[1:]])
