"""Vectors of a catalogue's items by the model as it is, for mining and for measuring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.joint import AnyModel

CHUNK: Final = 1024


def embed_rows(
    model: AnyModel,
    inputs: ItemInputs,
    rows: NDArray[np.int64],
    modalities: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return unit vectors of some items, shape (rows, dim); the mode is left as it was.

    Parameters
    ----------
    modalities : what of the items to read; None reads all.

    Notes
    -----
    An item that has none of the modalities gets zeros.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), CHUNK):
            batch = inputs.take(rows[start : start + CHUNK])
            kept = batch if modalities is None else batch.keep(modalities)
            fused = model(kept.to(device)).fused
            found.append(normalize(fused.float(), dim=1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(found) if found else np.empty((0, model.settings.dim), np.float32)
