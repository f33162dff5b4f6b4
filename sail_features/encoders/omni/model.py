"""The omni-modal model: tokens of every modality through one trunk, and their mean.

z = mean over tokens of tanh of the last hidden state (arXiv 2510.12709, section 3). A
modality that an item lacks is masked, so that every subset has a vector; one that a batch
hides (`OmniBatch.keep`) costs nothing. Weights are float32; vectors aren't normalised,
whoever compares them does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from sail_features.encoders.omni.backbone import Backbone, load_backbone
from sail_features.encoders.omni.batch import OmniBatch
from sail_features.encoders.omni.resampler import build_adapter
from sail_features.encoders.omni.settings import MODALITIES, TEXT, OmniSettings
from sail_features.encoders.omni.trunk import Trunk
from sail_features.errors import ModelError

PROMPT: Final = "prompt"
TABLE_STD: Final = 0.02
UNBENT: Final = 0.3
"""Size of the last hidden states at first: there tanh is nearly a line, so that an untrained
model keeps its tower's cosines (of MiniLM's to 0.006, and to 0.029 where they begin at 1)."""


@dataclass(frozen=True)
class OmniOutput:
    """What the model makes of B items; a row is zero where its item has none of it.

    ``fused``: the embedding, shape (B, hidden); every Matryoshka prefix is one, too.
    ``in_context``: modality to the mean over its own tokens after the trunk, where they
    have seen the others (n_v and n_t of NoteLLM-2, arXiv 2405.16789, section 4).
    ``before``: modality to the mean over its tokens before the trunk (the v of its late
    fusion).
    """

    fused: Tensor
    in_context: dict[str, Tensor]
    before: dict[str, Tensor]


@dataclass(frozen=True)
class _Segment:
    """Some tokens (B, n, hidden) of one modality, or of the prompt, and which are there."""

    name: str
    tokens: Tensor
    mask: Tensor


class OmniModel(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Adapters, token table and trunk; the frozen towers aren't part of it.

    Parameters
    ----------
    settings : what to build.
    backbone : the trunk, where it is made already; None loads ``settings.backbone``, or
        builds a trunk of our own with random weights (seed torch first).

    Raises
    ------
    ModelError
        The backbone can't be found, or isn't as wide as the settings say, or the settings
        name nothing to read.

    Notes
    -----
    The vector of a single modality is ``model(batch.keep({modality})).fused``: after
    bidirectional attention every token knows the others (chosen here).
    """

    source: Path | None = None
    """The folder that it was loaded from."""

    def __init__(self, settings: OmniSettings, *, backbone: Backbone | None = None) -> None:
        super().__init__()
        if not settings.modalities:
            raise ModelError.say(
                "omni-modal model", "reads nothing", hint="give towers, or set text_tokens"
            )
        self.settings = settings
        if settings.backbone is not None:
            self.trunk = _check_width(backbone or load_backbone(settings.backbone), settings)
        else:
            self.trunk = Trunk(settings.hidden, settings.layers, settings.heads, settings.dropout)
            nn.init.constant_(self.trunk.last.weight, UNBENT)
            self.trunk.start_as_identity()
        self.adapters = nn.ModuleDict(
            {
                name: build_adapter(settings.towers[name], settings)
                for name in MODALITIES
                if name in settings.towers
            }
        )
        self.table = _TokenTable(settings) if self._has_own_table else None
        if isinstance(self.trunk, Backbone):
            self._adapt_to(self.trunk)

    @property
    def _has_own_table(self) -> bool:
        return self.settings.text_tokens and self.settings.backbone is None

    def _adapt_to(self, backbone: Backbone) -> None:
        """Let adapters' tokens begin as large as the backbone's own."""
        with torch.no_grad():
            size = backbone.table.weight.std()
            for adapter in self.adapters.values():
                adapter.first_scale(size)
        backbone.table.requires_grad_(self.settings.text_tokens)

    def forward(self, batch: OmniBatch) -> OmniOutput:
        """Return the vectors of a batch, float32."""
        segments = list(self._segments(batch))
        tokens = torch.cat([segment.tokens for segment in segments], dim=1)
        mask = torch.cat([segment.mask for segment in segments], dim=1)
        states = torch.tanh(self.trunk(tokens, mask).float())
        return OmniOutput(
            fused=mean_of_tokens(states, mask),
            in_context=_means(segments, states),
            before=_means(segments, tokens.float()),
        )

    def _segments(self, batch: OmniBatch) -> Iterator[_Segment]:
        """Yield what the trunk reads in its order: sounds, images and text inside the prompt."""
        _check_readable(batch, self.settings)
        if batch.prompt is not None:
            yield self._prompt(batch.prompt.before, len(batch))
        for name in MODALITIES:
            if name in batch.features:
                adapter, vectors = self.adapters[name], batch.features[name]
                yield _Segment(name, *adapter(vectors, batch.mask[name]))
        if batch.text_ids is not None and batch.text_mask is not None:
            yield _Segment(TEXT, self._embed(batch.text_ids), batch.text_mask)
        if batch.prompt is not None:
            yield self._prompt(batch.prompt.after, len(batch))

    def _prompt(self, ids: Tensor, items: int) -> _Segment:
        tokens = self._embed(ids.expand(items, -1))
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return _Segment(PROMPT, tokens, mask)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.table(ids) if self.table is not None else self.trunk.table(ids)

    def recompute(self, on: bool = True) -> None:
        """Keep no activations inside layers while training, and compute them twice.

        Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): less memory, a third
        more time, the same gradients.
        """
        for part in self.modules():
            if isinstance(part, Trunk | Backbone):
                part.recompute(on)

    def count_parameters(self) -> dict[str, int]:
        """Return the number of weights of each part, and their ``total``."""
        parts = {"trunk": self.trunk, "adapters": self.adapters, "table": self.table}
        counts = {
            name: sum(weight.numel() for weight in part.parameters())
            for name, part in parts.items()
            if part is not None
        }
        return {**counts, "total": sum(counts.values())}


class _TokenTable(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Embeddings of text tokens and of their places in the text."""

    def __init__(self, settings: OmniSettings) -> None:
        super().__init__()
        self.tokens = nn.Embedding(settings.vocabulary, settings.hidden)
        self.places = nn.Embedding(settings.max_text_tokens, settings.hidden)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=TABLE_STD)

    def forward(self, ids: Tensor) -> Tensor:
        """Return tokens (B, T, hidden) of ids (B, T)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.tokens(ids) + self.places(places)


def mean_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens that are there, zeros where none is; shape (B, hidden)."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _means(segments: Sequence[_Segment], states: Tensor) -> dict[str, Tensor]:
    """Return each modality's mean over its own part of the states."""
    parts = states.split([segment.mask.shape[1] for segment in segments], dim=1)
    found: dict[str, Tensor] = {}
    for name in MODALITIES:
        own = [row for row, segment in enumerate(segments) if segment.name == name]
        if own:
            found[name] = mean_of_tokens(
                torch.cat([parts[row] for row in own], dim=1),
                torch.cat([segments[row].mask for row in own], dim=1),
            )
    return found


def _check_width(backbone: Backbone, settings: OmniSettings) -> Backbone:
    if backbone.width != settings.hidden:
        raise ModelError.say(
            f"backbone {settings.backbone!r}",
            f"has hidden states of {backbone.width} numbers, expected hidden ({settings.hidden})",
            hint=f"set hidden and the last of matryoshka to {backbone.width}",
        )
    return backbone


def _check_readable(batch: OmniBatch, settings: OmniSettings) -> None:
    unread = sorted(set(batch.features) - set(settings.towers))
    if (batch.text_ids is not None or batch.prompt is not None) and not settings.text_tokens:
        unread.append("text tokens")
    if unread:
        raise ModelError.say(
            "omni-modal model",
            f"got {', '.join(unread)}, but reads {', '.join(settings.modalities)}",
            hint="prepare the inputs for this model's settings, or add the tower",
        )
