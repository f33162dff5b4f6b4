"""ID to item: a vector made of content learns what the collaborative IDs know.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 5.2): several ID embeddings an item
through a feature projection against the omni-modal vector, jointly with an auxiliary i2i
contrast so that content isn't forgotten. The paper tells no form of the loss. Chosen here:
the projection goes from the vector to each ID embedding; contrastive with in-batch negatives
(after EM3, arXiv 2404.06078), or a regression of the cosine; each ID counts alike; a
Matryoshka prefix is projected by the first columns of the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, linear

from sail_features.embeddings import EmbeddingTable
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.errors import InputError
from sail_features.training.collaborative_ids import check_trained_before
from sail_features.training.losses.info_nce import info_nce
from sail_features.training.losses.temperature import Temperature
from sail_features.training.objective import TOTAL, Losses, Objective

NAME: Final = "id_to_item"
Form = Literal["contrast", "regression"]


@dataclass(frozen=True)
class DrawnIds:
    """Rows of items, shape (B,), and what the auxiliary objective drew."""

    rows: NDArray[np.int64]
    auxiliary: Any


class IdToItem:
    """The objective of some tables of ID embeddings, with an auxiliary one beside it.

    Parameters
    ----------
    inputs : of the catalogue.
    teachers : from `collaborative_ids.train_ids`; each may lack items.
    trained_until : of the encoder that is trained.
    auxiliary : keeps what the vector could before, such as an i2i contrast; None goes
        without.
    weight : of the auxiliary loss.
    form : of the distillation.

    Raises
    ------
    LeakageError
        A teacher was trained later than the encoder may know.
    InputError
        No item of the catalogue with content has an ID embedding.
    """

    name = NAME

    def __init__(
        self,
        inputs: ItemInputs,
        teachers: Sequence[EmbeddingTable],
        *,
        hidden: int,
        trained_until: datetime,
        auxiliary: Objective | None = None,
        weight: float = 1.0,
        form: Form = "contrast",
    ) -> None:
        check_trained_before(teachers, trained_until)
        self.inputs, self.auxiliary, self.weight, self.form = inputs, auxiliary, weight, form
        self.teachers = teachers
        self.taught = _taught_rows(inputs, teachers)
        self.size = len(self.taught)
        dims = [teacher.dim for teacher in teachers]
        self.extra = _Parts(hidden, dims, auxiliary.extra if auxiliary else None)

    def draw(self, rng: np.random.Generator, size: int) -> DrawnIds:
        """Return items with an ID embedding, each once, and the auxiliary's own draw."""
        rows = rng.permutation(self.taught)[:size]
        beside = None if self.auxiliary is None else self.auxiliary.draw(rng, size)
        return DrawnIds(rows, beside)

    def loss(self, model: OmniModel, drawn: DrawnIds) -> Losses:
        """Return the distillation's loss, the auxiliary's total, and their sum."""
        device = next(model.parameters()).device
        vectors = model(self.inputs.take(drawn.rows).to(device)).fused
        ids = self.inputs.item_ids[drawn.rows]
        parts = [
            self._distil(teacher, place, vectors, ids, model.settings.matryoshka)
            for place, teacher in enumerate(self.teachers)
        ]
        distilled = torch.stack(parts).mean()
        if self.auxiliary is None:
            return {TOTAL: distilled}
        beside = self.auxiliary.loss(model, drawn.auxiliary)[TOTAL]
        total = distilled + self.weight * beside
        return {TOTAL: total, "distilled": distilled, "auxiliary": beside}

    def _distil(
        self,
        teacher: EmbeddingTable,
        place: int,
        vectors: Tensor,
        ids: NDArray[Any],
        sizes: Sequence[int],
    ) -> Tensor:
        """Return the mean loss of one teacher over the prefixes."""
        row = teacher.rows_of(ids)
        known = torch.from_numpy(row >= 0).to(vectors.device)
        wanted = torch.from_numpy(teacher.take(np.maximum(row, 0))).to(vectors.device)
        weights, scale = self.extra.projections[place], self.extra.temperatures[place]()
        losses = []
        for size in sizes:
            projected = linear(vectors[:, :size], weights.weight[:, :size], weights.bias)
            if self.form == "contrast":
                losses.append(info_nce(projected, wanted, scale, valid=known))
            else:
                far = 1 - cosine_similarity(projected, wanted)
                losses.append((far * known).sum() / known.sum().clamp(min=1))
        return torch.stack(losses).mean()


class _Parts(nn.Module):  # type: ignore[misc]  # torch has no types here
    def __init__(self, hidden: int, dims: Sequence[int], auxiliary: nn.Module | None) -> None:
        super().__init__()
        self.projections = nn.ModuleList([nn.Linear(hidden, dim) for dim in dims])
        self.temperatures = nn.ModuleList([Temperature() for _ in dims])
        self.auxiliary = auxiliary


def _taught_rows(inputs: ItemInputs, teachers: Sequence[EmbeddingTable]) -> NDArray[np.int64]:
    """Return the rows of items with content and an ID embedding."""
    taught = np.zeros(len(inputs), bool)
    for teacher in teachers:
        taught |= teacher.rows_of(inputs.item_ids) >= 0
    rows = np.flatnonzero(taught & np.any(list(inputs.has.values()), axis=0))
    if not len(rows):
        raise InputError.say(
            NAME,
            "no item with content has an ID embedding",
            hint="give tables trained on this catalogue's events, or lower their min_support",
        )
    return rows
