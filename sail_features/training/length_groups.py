"""Encodes items of like length together, so that little of what is computed is padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.training.gradient_cache import Vectors

GROUP: Final = 32
"""Items of a group: enough to keep a core's matrix products busy, chosen here."""


def encode_by_length(
    encode: Callable[[Sequence[int]], Vectors], inputs: ItemInputs, rows: Sequence[int]
) -> Vectors:
    """Return what ``encode`` makes of all rows, computed in groups of like length.

    Only inputs with text tokens differ in length; others are encoded at once.
    """
    if inputs.text_ids is None or len(rows) <= GROUP:
        return encode(rows)
    lengths = inputs.text_ids.counts[np.asarray(rows)]
    order = np.argsort(lengths, kind="stable")
    groups = np.array_split(order, max(1, len(rows) // GROUP))
    parts = [encode([rows[place] for place in group]) for group in groups]
    back = torch.from_numpy(np.argsort(order, kind="stable"))
    return {
        name: torch.cat([part[name] for part in parts])[back.to(value.device)]
        for name, value in parts[0].items()
    }
