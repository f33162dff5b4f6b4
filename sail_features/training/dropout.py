"""Hides parts of items while training, so that the model bears their lack when it serves.

arXiv 2510.12709 drops text fields at random; that whole modalities are dropped
as well, and all probabilities, are chosen here.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from sail_features.config import Section
from sail_features.encoders.omni.batch import OmniBatch


class DropoutSettings(Section):
    """Probabilities that a part of an item is hidden.

    ``field``: one of several vectors that a modality has, such as its text fields, or a
    frame. ``modality``: all of one modality. What would leave nothing is not dropped.
    """

    field: float = Field(default=0.1, ge=0, lt=1)
    modality: float = Field(default=0.1, ge=0, lt=1)


def drop_parts(batch: OmniBatch, settings: DropoutSettings) -> OmniBatch:
    """Return the batch with parts hidden at random, by torch's generator."""
    mask = {name: _drop(there, settings.field) for name, there in batch.mask.items()}
    names = batch.modalities
    has = torch.stack([batch.has(name) for name in names], dim=1)
    kept = _drop(has, settings.modality)
    of = {name: kept[:, place, None] for place, name in enumerate(names)}
    text_mask = batch.text_mask
    return replace(
        batch,
        mask={name: there & of[name] for name, there in mask.items()},
        text_mask=None if text_mask is None else text_mask & of["text"],
    )


def _drop(there: Tensor, probability: float) -> Tensor:
    """Return which of (B, n) stay; a row that would lose all keeps all."""
    stays = there & (torch.rand(there.shape, device=there.device) >= probability)
    return torch.where(stays.any(dim=1, keepdim=True), stays, there)
