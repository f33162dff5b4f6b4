"""What a training step trains on: one data set with its loss.

The loop knows nothing of pairs or sequences. It draws from one objective, minimises the
``total`` that its loss returns, and optimises and checkpoints its own parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from torch import Tensor, nn

from sail_features.encoders.omni.model import OmniModel

TOTAL: Final = "total"
"""The name of the loss that is minimised; all others are parts of it, for the curves."""

Losses: TypeAlias = Mapping[str, Tensor]
Drawn: TypeAlias = Any
"""What ``draw`` hands to its own ``loss``: arrays, or a dataclass, dict or tuple of them."""


class Objective(Protocol):
    """One data set with its loss.

    ``name`` is unique in a run and ``size`` the number of examples. A draw must depend on
    its generator alone: a killed run draws the same again.
    """

    name: str
    size: int

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        """Return a batch of ``size`` examples."""

    def loss(self, model: OmniModel, drawn: Drawn) -> Losses:
        """Return scalar losses by name; `TOTAL` is what is minimised."""

    @property
    def extra(self) -> nn.Module | None:
        """Its own parameters and buffers, such as temperatures; None where it has none."""


@runtime_checkable
class Refreshable(Protocol):
    """An objective that looks at the model anew every ``refresh_steps`` of the settings."""

    def refresh(self, model: OmniModel, rng: np.random.Generator) -> None:
        """Compute again what depends on the model, into buffers of ``extra``.

        Buffers are checkpointed, so that a killed run goes on with the same ones.
        """
