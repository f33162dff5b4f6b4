"""Late fusion: the picture as the tower saw it, mixed into the item's vector by a gate.

    g = sigmoid(W [v, n] + b);   fused = g * v + (1 - g) * n

``v`` is the visual vector before the trunk and ``n`` the item's vector after it. The trunk
tends to lose visual detail, and this loss asks that the mixture matches. The deployed
vector stays ``n`` (chosen here: the paper doesn't say which it is).

References
----------
arXiv 2510.12709, its late-fusion loss; arXiv 2405.16789 (NoteLLM-2), late fusion.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LateFusionGate(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The gate; it belongs to one data set's loss and isn't served (chosen here).

    It starts half open: weights and bias are zero.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * hidden, hidden)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, seen: Tensor, vector: Tensor) -> Tensor:
        """Return the mixture of two (B, hidden), of the same shape."""
        share = torch.sigmoid(self.gate(torch.cat([seen, vector], dim=1)))
        return share * seen + (1 - share) * vector
