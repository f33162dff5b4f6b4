"""A planted omni-modal catalogue for the tests of training: topics seen in three modalities."""

from __future__ import annotations

import numpy as np
import torch

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.training.pair_objective import LossSettings, PairObjective
from sail_features.training.pairs import PairDataset

torch.set_num_threads(1)  # the models are so small that threads only wait for each other

ITEMS, TOPICS, DIM = 120, 8, 16
MODALITIES = ("audio", "text", "vision")
PATTERNS = (("fused", "fused"), ("vision", "text"))


def make_inputs(seed=0, without_audio=10):
    """Return inputs whose items share a noisy direction of their topic, and the topics."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, TOPICS, ITEMS)
    arrays = {}
    for modality in MODALITIES:
        directions = rng.standard_normal((TOPICS, DIM))
        arrays[modality] = directions[topics] + rng.standard_normal((ITEMS, DIM))
    arrays["audio"][:without_audio] = np.nan
    ids = np.array([f"i{n:03d}" for n in range(ITEMS)])
    return ItemInputs.from_arrays(ids, arrays), topics


def make_pairs(count=300, name="topics", seed=0, **changes):
    """Return pairs of items of the same topic."""
    inputs, topics = make_inputs()
    rng = np.random.default_rng([1, seed])
    queries = rng.integers(0, ITEMS, count)
    targets = np.array([rng.choice(np.flatnonzero(topics == topics[q])) for q in queries])
    ids = inputs.item_ids
    settings = {"patterns": PATTERNS, **changes}
    return PairDataset.from_ids(name, inputs, inputs, (ids[queries], ids[targets]), **settings)


def make_model(inputs, seed=0, **changes):
    """Return a small model of random weights for some inputs."""
    torch.manual_seed(seed)
    sizes = {"hidden": 16, "layers": 1, "heads": 2, "matryoshka": (8, 16), **changes}
    return OmniModel(inputs.bind(OmniSettings.model_validate(sizes)))


def make_objective(model, data=None, **losses):
    """Return the objective of a data set of pairs; nothing is dropped at random."""
    still = {"dropout": {"field": 0.0, "modality": 0.0}, **losses}
    settings = LossSettings.model_validate(still)
    return PairObjective(data or make_pairs(), model.settings, settings)
