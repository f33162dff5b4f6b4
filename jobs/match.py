"""Compute the match features of impressions into user_item_match.

    spark-submit jobs/match.py --config sail.yaml --as-of 2026-03-31
    spark-submit jobs/match.py --config sail.yaml --as-of 2026-03-31 --candidates top.parquet

The second writes user_item_candidate: pairs that nobody was shown yet. Costs one shuffle
of ids and times: see benchmarks/match_spark.py. Running it again replaces its as_of
partition with the same data. The package must be installed on the driver and on the
executors.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["match", *sys.argv[1:]])
