"""A learned temperature, one for each data set."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

MAX_SCALE: Final = 100.0
"""A temperature of 0.01 at the least, as in CLIP (arXiv 2103.00020, section 2.5)."""


class Temperature(nn.Module):  # type: ignore[misc]  # torch has no types here
    """What cosines are divided by before a softmax.

    Learned per data set (arXiv 2510.12709); its start of 0.07 is CLIP's.
    """

    def __init__(self, initial: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(initial)))

    def forward(self) -> Tensor:
        """Return one over the temperature."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)
