"""Brings a tower's vectors to tokens of the trunk: one each, or a few learned queries for all.

arXiv 2510.12709, section 3: the visual tokens and 16 learned queries go through a
transformer together, and only the queries are kept (a Perceiver); sounds pass an adapter.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from sail_features.encoders.omni.settings import OmniSettings, Tower
from sail_features.encoders.omni.trunk import Trunk

QUERY_STD: Final = 0.02


class Adapter(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Each vector of a tower as a token.

    Linear, and orthogonal at first, so that an untrained adapter keeps the towers' cosines
    as well as its width allows (chosen here; the paper tells no form). Where an item has
    several, each has a learned position that starts at zero.
    """

    def __init__(self, tower: Tower, width: int) -> None:
        super().__init__()
        self.scale = tower.dim**0.5
        """Unit vectors come; numbers of about 1 go in."""
        self.project = nn.Linear(tower.dim, width)
        nn.init.orthogonal_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        several = tower.tokens if tower.tokens > 1 else 0
        self.position = nn.Parameter(torch.zeros(several, width)) if several else None

    def first_scale(self, size: Tensor) -> None:
        """Scale untrained tokens, whose numbers are about 1, to about ``size``."""
        self.project.weight.mul_(size)

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, n, width) and their mask."""
        tokens = self.project(vectors * self.scale)
        if self.position is not None:
            tokens = tokens + self.position[: vectors.shape[1]]
        return tokens, mask


class Resampler(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Learned queries that have attended to all vectors of an item, however many.

    The queries stand for the whole item, all frames together (chosen here; the paper
    doesn't say whether they are per frame).
    """

    def __init__(self, tower: Tower, settings: OmniSettings) -> None:
        super().__init__()
        width = settings.resampler_width or settings.hidden
        self.adapter = Adapter(tower, width)
        self.queries = nn.Parameter(torch.randn(tower.queries, width) * QUERY_STD)
        self.trunk = Trunk(width, settings.resampler_layers, settings.resampler_heads)
        self.leave = nn.Linear(width, settings.hidden)
        nn.init.orthogonal_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def first_scale(self, size: Tensor) -> None:
        """Scale untrained tokens, whose numbers are about 1, to about ``size``."""
        self.leave.weight.mul_(size)

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, queries, width), and a mask without any where the item has none."""
        tokens, mask = self.adapter(vectors, mask)
        count = len(self.queries)
        queries = self.queries.expand(len(tokens), -1, -1)
        asked = mask.new_ones(len(mask), count)
        states = self.trunk(torch.cat([tokens, queries], 1), torch.cat([mask, asked], 1))
        there = mask.any(dim=1, keepdim=True).expand(-1, count)
        return self.leave(states[:, -count:]), there


def build_adapter(tower: Tower, settings: OmniSettings) -> nn.Module:
    """Return what brings this tower's vectors to tokens."""
    return Resampler(tower, settings) if tower.queries else Adapter(tower, settings.hidden)
