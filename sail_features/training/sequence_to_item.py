"""Sequence to item: what a user took before must find what she took next.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 5.1): contrast of the query sequence's
vector with the target's, in-batch negatives; there is no teacher. Chosen here: symmetric, as
all contrasts here; summed over the Matryoshka prefixes; another row's target is no negative
where it is the same item, one of the query's own, or the same user's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.errors import InputError
from sail_features.training.distributed import rank
from sail_features.training.losses.info_nce import info_nce
from sail_features.training.losses.matryoshka import sum_over_prefixes
from sail_features.training.losses.temperature import Temperature
from sail_features.training.objective import TOTAL, Losses
from sail_features.training.sequence_encoder import MeanPooling
from sail_features.training.sequences import ABSENT, Sequences

NAME: Final = "sequence_to_item"


class SequenceToItem:
    """The objective of a set of training sequences.

    Parameters
    ----------
    inputs : of the catalogue that the sequences' rows point into.
    encoder : from `sequence_encoder`; None takes the mean.

    Raises
    ------
    InputError
        Fewer than two sequences, or one with an item that has no content.
    """

    name = NAME

    def __init__(
        self, inputs: ItemInputs, sequences: Sequences, encoder: nn.Module | None = None
    ) -> None:
        _check(inputs, sequences)
        self.inputs, self.sequences = inputs, sequences
        self.size = len(sequences)
        self.extra = _Parts(encoder or MeanPooling())

    def draw(self, rng: np.random.Generator, size: int) -> Sequences:
        """Return ``size`` sequences, drawn with replacement."""
        return self.sequences.take(rng.integers(self.size, size=size))

    def loss(self, model: OmniModel, drawn: Sequences) -> Losses:
        """Return the contrast of sequences and targets."""
        rows, place = np.unique(
            np.column_stack([drawn.query, drawn.target[:, None]]), return_inverse=True
        )
        first = int(rows[0] == ABSENT)
        device = next(model.parameters()).device
        vectors = normalize(model(self.inputs.take(rows[first:]).to(device)).fused, dim=1)
        at = torch.from_numpy(place.reshape(len(drawn), -1) - first).to(device)
        query, target = at[:, :-1], vectors[at[:, -1]]
        sought = self.extra.encoder(vectors[query.clamp(min=0)], query >= 0)
        known = _known(drawn).to(device) + rank() * len(drawn)
        scale = self.extra.temperature()

        def contrast(ours: Tensor, theirs: Tensor) -> Tensor:
            return info_nce(ours, theirs, scale, known=known)

        sizes = model.settings.matryoshka
        return {TOTAL: sum_over_prefixes(contrast, sizes, sought, target) / len(sizes)}


class _Parts(nn.Module):  # type: ignore[misc]  # torch has no types here
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.temperature = encoder, Temperature()


def _known(drawn: Sequences) -> Tensor:
    """Return places (2, k) of queries and others' targets that are no negatives."""
    same = drawn.target[:, None] == drawn.target
    same |= drawn.user[:, None] == drawn.user
    same |= (drawn.query[:, :, None] == drawn.target).any(axis=1)
    np.fill_diagonal(same, False)
    return torch.from_numpy(np.array(np.nonzero(same)))


def _check(inputs: ItemInputs, sequences: Sequences) -> None:
    if len(sequences) < 2:
        raise InputError.say(
            NAME,
            f"{len(sequences)} sequences, of two at least: too few users have enough past items",
            hint="lower the rule's behaviours, choose another rule, or give more events",
        )
    used = np.unique(np.concatenate([sequences.query.ravel(), sequences.target]))
    used = used[used != ABSENT]
    if used.max() >= len(inputs):
        raise InputError.say(
            NAME, f"item row {used.max()} of {len(inputs)}", hint="build both from one catalogue"
        )
    content = np.any(list(inputs.has.values()), axis=0)
    if blank := inputs.item_ids[used[~content[used]]].tolist():
        raise InputError.unknown_items(f"{NAME}: items without content", blank)
