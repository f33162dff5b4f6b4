"""One training of the tests' planted world, as a program of its own: to kill, or to share.

    python training_run.py FOLDER [CHUNK_SIZE]

Under torchrun each process draws its own share; process 0 writes the weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import training_world
from safetensors.torch import save_file

from sail_features.training.distributed import process_group, rank, world_size
from sail_features.training.loop import train
from sail_features.training.settings import TrainSettings

SETTINGS = TrainSettings(steps=40, batch_size=24, warmup_steps=4, checkpoint_steps=7)
SHARED = SETTINGS.model_copy(update={"steps": 4, "warmup_steps": 1})
PROCESSES = 2


def share_batches(objective):
    """Make the objective draw the same whole batch in every world, and take a share of it."""
    batch = SHARED.batch_size
    draws = iter(range(SHARED.steps))

    def draw(rng, size):
        places = np.random.default_rng(next(draws)).choice(objective.size, batch, replace=False)
        mine = places[rank() * size : (rank() + 1) * size]
        data = objective.data
        return type(whole)(mine, data.query.rows[mine], data.target.rows[mine])

    whole = objective.draw(np.random.default_rng(0), 2)
    objective.draw = draw
    return objective


def make(losses):
    """Return a model and an objective with all losses."""
    model = training_world.make_model(training_world.make_inputs()[0])
    patterns = [("fused", "fused"), ("audio", "text")]
    data = training_world.make_pairs(patterns=patterns)
    return model, training_world.make_objective(model, data, **losses)


def run_shared(folder, chunk_size=None):
    """Train a few steps on batches that all processes share."""
    mined = {"hard_negatives": {"per_query": 2, "sample": 64}, "chunk_size": chunk_size}
    model, objective = make(mined)
    train(model, [share_batches(objective)], [1], SHARED, folder)
    if rank() == 0:
        weights = {**model.state_dict(), **objective.extra.state_dict()}
        save_file(weights, folder / f"weights-of-{world_size()}.safetensors")


def run_alone(folder):
    """Train to the end, with dropout and hard negatives."""
    losses = {"hard_negatives": {"per_query": 2, "sample": 64}, "dropout": {"modality": 0.3}}
    model, objective = make(losses)
    train(model, [objective], [1], SETTINGS, folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with process_group():
        if world_size() > 1:
            run_shared(target, int(sys.argv[2]) if len(sys.argv) > 2 else None)
        else:
            run_alone(target)
