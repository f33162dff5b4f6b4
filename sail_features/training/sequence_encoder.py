"""From the vectors of a query's ten items to one vector of what the user looks for.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 5.1): the mean of the items' vectors
(the default), or a Transformer of three layers with a special token that is read out. Heads,
width and places' embeddings: chosen here.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from sail_features.training.sequences import LENGTH

LAYERS: Final = 3
"""Of the Transformer (paper)."""


class MeanPooling(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The mean of the items' vectors."""

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Return (rows, dim).

        Parameters
        ----------
        items : (rows, `LENGTH`, dim), unit vectors, the oldest first.
        present : (rows, `LENGTH`) bool, at least one in each row.
        """
        weight = present[..., None].to(items.dtype)
        mean: Tensor = (items * weight).sum(dim=1) / weight.sum(dim=1)
        return mean


class SequenceTransformer(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A bidirectional Transformer over the items, read out at a token of its own.

    Parameters
    ----------
    dim : of the items' vectors, and of what is returned.
    heads : must divide ``dim``.

    Notes
    -----
    What it returns is added to the mean of the items' vectors, and its last layer starts at
    zero: training begins where mean pooling stands (chosen here).
    """

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.readout = nn.Parameter(torch.randn(dim) * 0.02)
        self.place = nn.Parameter(torch.randn(LENGTH, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.out = nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.mean = MeanPooling()

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Return (rows, dim); parameters as in `MeanPooling`."""
        first = self.readout.expand(len(items), 1, -1)
        tokens = torch.cat([first, items + self.place], dim=1)
        absent = torch.cat([present.new_zeros(len(items), 1), ~present], dim=1)
        read = self.layers(tokens, src_key_padding_mask=absent)[:, 0]
        found: Tensor = self.mean(items, present) + self.out(read)
        return found
