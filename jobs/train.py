"""Train an omni-modal encoder on the workspace's items and events, in stages.

    torchrun --nproc-per-node 2 jobs/train.py --recipe train.yaml --trained-until 2026-01-31
    python jobs/train.py --recipe train.yaml

Reads the towers' vectors and the tables, needs no Spark. Killed, it goes on from its last
checkpoint when it is run again. With torchrun each process takes its share of every batch.
"""

import sys

from sail_features.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
