"""Encode the contents of new items into item_embedding, each distinct one once.

    spark-submit jobs/encode.py --config sail.yaml --as-of 2026-03-31

Costs one forward pass a new content; on a CPU 50 to 200 short texts a second a core.
Running it again replaces its as_of partition with the same data. The package must be
installed on the driver and on the executors.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["encode", *sys.argv[1:]])
