"""Trains the omni-modal encoder: on content first, then on what users' behaviour knows.

`objective` says what a step trains on and `loop` runs the steps: one data set each, with
warm-up, clipping, a guard against NaN and atomic `checkpoint`s from which a killed run
goes on to the same loss curve. `pairs` and `pair_objective` are content training, with one
loss a file in `losses/`; `hard_negatives`, `balancing`, `patterns` and `dropout` are the
paper's mechanics (arXiv 2510.12709), `gradient_cache` and `distributed`
make batches large. `stages` runs a recipe. Importing this package loads no torch.
"""
