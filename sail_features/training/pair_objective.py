"""Content training on one set of pairs: all its losses from one pass over the batch.

    total = mean of the patterns' InfoNCE + in_context * ... + late_fusion * ...

each summed over Matryoshka prefixes; graded pairs are trained by CoSENT instead, since a
pair of a low grade is no match (chosen here).

References
----------
arXiv 2510.12709, its contrastive losses; it doesn't tell their weights. That one
temperature serves all losses of a data set is chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from sail_features.config import Section
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import VISION, OmniSettings
from sail_features.training.distributed import gather_rows
from sail_features.training.dropout import DropoutSettings, drop_parts
from sail_features.training.gradient_cache import Vectors, encode_in_chunks
from sail_features.training.hard_negatives import HardNegativeSettings, mine_hard_negatives
from sail_features.training.length_groups import encode_by_length
from sail_features.training.losses.cosent import cosent
from sail_features.training.losses.in_context import Nce, in_context_loss
from sail_features.training.losses.info_nce import Hard, info_nce
from sail_features.training.losses.late_fusion import LateFusionGate
from sail_features.training.losses.matryoshka import sum_over_prefixes
from sail_features.training.losses.temperature import Temperature
from sail_features.training.objective import TOTAL, Losses
from sail_features.training.pairs import PairDataset, Side
from sail_features.training.patterns import FUSED, OMNI, Pattern, pattern_loss


class LossSettings(Section):
    """What is added to the contrastive loss, by weight; all weights are chosen here.

    ``temperature``: where the learned one starts. ``hard_negatives``: null mines none.
    ``chunk_size``: items whose activations are in memory at a time, see `gradient_cache`;
    null is all of a batch.
    """

    temperature: float = Field(default=0.07, ge=0.01)
    in_context: float = Field(default=0.1, ge=0)
    late_fusion: float = Field(default=0.1, ge=0)
    dropout: DropoutSettings = DropoutSettings()
    hard_negatives: HardNegativeSettings | None = None
    chunk_size: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class DrawnPairs:
    """Some pairs: their places in the data set, and their rows in both inputs; shape (B,)."""

    places: NDArray[np.int64]
    queries: NDArray[np.int64]
    targets: NDArray[np.int64]


class PairObjective:
    """Trains on one `PairDataset`.

    Parameters
    ----------
    data : the pairs.
    model : settings of the model that will be trained.
    settings : of the losses.
    """

    def __init__(
        self, data: PairDataset, model: OmniSettings, settings: LossSettings | None = None
    ) -> None:
        self.name, self.size = data.name, len(data)
        self.data, self.settings = data, settings or LossSettings()
        self.prefixes = model.matryoshka
        shown = [set(data.query.modalities), set(data.target.modalities)]
        has_omni = OMNI in data.patterns and data.grades is None
        self._shares_vision = has_omni and all(VISION in side for side in shown)
        self._shared = sorted(shown[0] & shown[1]) if has_omni else []
        self._mines = has_omni and self.settings.hard_negatives is not None
        self.extra: nn.Module = _Extra(
            self.settings,
            model.hidden if self._fuses_late else 0,
            len(np.unique(data.query.rows)) if self._mines else 0,
        )

    @property
    def _fuses_late(self) -> bool:
        return self._shares_vision and self.settings.late_fusion > 0

    def draw(self, rng: np.random.Generator, size: int) -> DrawnPairs:
        """Return distinct pairs; repeated ones where the data set has fewer than ``size``."""
        places = rng.choice(self.size, size, replace=size > self.size, shuffle=False)
        return DrawnPairs(places, self.data.query.rows[places], self.data.target.rows[places])

    def refresh(self, model: OmniModel, rng: np.random.Generator) -> None:
        """Mine hard negatives with the model as it is, where the settings ask for them."""
        if not self._mines or self.settings.hard_negatives is None:
            return
        mined = mine_hard_negatives(model, self.data, self.settings.hard_negatives, rng)
        self.extra.hard.copy_(torch.from_numpy(mined.targets))
        self.extra.threshold.fill_(mined.threshold)

    def loss(self, model: OmniModel, drawn: DrawnPairs) -> Losses:
        """Return the total and its parts."""
        data, scale = self.data, self.extra.temperature()
        query = self._encode(model, data.query, drawn.queries, [q for q, _ in data.patterns])
        target = self._encode(model, data.target, drawn.targets, [t for _, t in data.patterns])
        if data.grades is not None:
            grades = torch.from_numpy(data.grades[drawn.places]).to(scale.device)
            graded = partial(cosent, grades=grades, scale=scale)
            total = sum_over_prefixes(graded, self.prefixes, query[FUSED], target[FUSED])
            return {TOTAL: total, "cosent": total}
        known = self._known(drawn, scale.device)
        nce = partial(_nce, scale=scale, known=known, prefixes=self.prefixes)
        nces: dict[Pattern, Nce] = dict.fromkeys(data.patterns, nce)
        if self._mines:
            nces[OMNI] = partial(nce, hard=self._hard(model, drawn))
        valid = torch.from_numpy(data.valid[drawn.places]).to(scale.device)
        found = pattern_loss(query, target, data.patterns, valid, nces)
        found |= self._auxiliary(query, target, nce)
        weights = {"nce": 1.0, "in_context": self.settings.in_context}
        weights["late_fusion"] = self.settings.late_fusion
        total = torch.stack([found[name] * weights[name] for name in weights if name in found])
        return {TOTAL: total.sum(), **found}

    def _auxiliary(self, query: Vectors, target: Vectors, nce: Nce) -> dict[str, Tensor]:
        """Return the in-context and the late-fusion loss, where the data set has them."""
        found = {}
        both = {m: query[f"has {m}"] & target[f"has {m}"] for m in self._shared}
        if self._reads_in_context:
            ours, theirs = ({m: s[f"in {m}"] for m in self._shared} for s in (query, target))
            found["in_context"] = in_context_loss(ours, theirs, both, nce)
        if self._fuses_late:
            left, right = (self.extra.gate(s["before"], s[FUSED]) for s in (query, target))
            found["late_fusion"] = nce(left, right, both[VISION])
        return found

    @property
    def _reads_in_context(self) -> bool:
        return bool(self._shared) and self.settings.in_context > 0

    def _encode(
        self, model: OmniModel, side: Side, rows: NDArray[np.int64], wanted: Sequence[str]
    ) -> Vectors:
        """Return all vectors that the losses need of some rows, in chunks if that is asked."""
        alone = sorted(set(wanted) - {FUSED})
        device = self.extra.temperature.log_scale.device

        def encode(some: Sequence[int]) -> Vectors:
            whole = side.inputs.take(np.asarray(some)).keep(side.modalities).to(device)
            shown = drop_parts(whole, self.settings.dropout) if model.training else whole
            found = {name: model(whole.keep({name})).fused for name in alone}
            if FUSED not in wanted:
                return found
            out = model(shown)
            found[FUSED] = out.fused
            for name in self._shared:
                found[f"has {name}"] = shown.has(name)
                if self._reads_in_context:
                    found[f"in {name}"] = out.in_context[name]
            if self._fuses_late:
                found["before"] = out.before[VISION]
            return found

        by_length = partial(encode_by_length, encode, side.inputs)
        return encode_in_chunks(by_length, rows.tolist(), self.settings.chunk_size)

    def _known(self, drawn: DrawnPairs, device: torch.device) -> Tensor:
        """Return places, over all processes, that are no negatives of each other."""
        rows = torch.from_numpy(np.stack([drawn.queries, drawn.targets], axis=1)).to(device)
        queries, targets = gather_rows(rows).cpu().numpy().T
        return torch.from_numpy(self.data.known_among(queries, targets)).to(device)

    def _hard(self, model: OmniModel, drawn: DrawnPairs) -> Hard:
        """Encode the hard negatives of the drawn queries, each once."""
        places = np.searchsorted(self._distinct_queries, drawn.queries)
        wanted = self.extra.hard.cpu().numpy()[places]
        distinct, inverse = np.unique(np.maximum(wanted, 0), return_inverse=True)
        vectors = self._encode(model, self.data.target, distinct, [FUSED])[FUSED]
        taken = vectors[torch.from_numpy(inverse.reshape(wanted.shape)).to(vectors.device)]
        return Hard(taken, torch.from_numpy(wanted >= 0).to(vectors.device))

    @cached_property
    def _distinct_queries(self) -> NDArray[np.int64]:
        """Return what the rows of the mined hard negatives belong to."""
        return np.unique(self.data.query.rows)


class _Extra(nn.Module):  # type: ignore[misc]  # torch has no types here
    """What a data set learns beside the model, and what was mined for it.

    Parameters
    ----------
    hidden : of the late fusion's gate; 0 has none.
    queries : that hard negatives are mined for; 0 mines none.
    """

    def __init__(self, settings: LossSettings, hidden: int, queries: int) -> None:
        super().__init__()
        self.temperature = Temperature(settings.temperature)
        self.gate = LateFusionGate(hidden) if hidden else None
        if queries and settings.hard_negatives is not None:
            shape = (queries, settings.hard_negatives.per_query)
            self.register_buffer("hard", torch.full(shape, -1))
            self.register_buffer("threshold", torch.tensor(torch.nan))


def _nce(
    queries: Tensor,
    targets: Tensor,
    valid: Tensor,
    *,
    scale: Tensor,
    known: Tensor,
    prefixes: Sequence[int],
    hard: Hard | None = None,
) -> Tensor:
    """Return InfoNCE summed over Matryoshka prefixes."""

    def contrast(queries: Tensor, targets: Tensor, *negatives: Tensor) -> Tensor:
        cut = None if hard is None else Hard(negatives[0], hard.there)
        return info_nce(queries, targets, scale, known=known, valid=valid, hard=cut)

    negatives = [] if hard is None else [hard.vectors]
    return sum_over_prefixes(contrast, prefixes, queries, targets, *negatives)
