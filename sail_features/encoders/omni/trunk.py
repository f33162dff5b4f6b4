"""The trunk: a bidirectional transformer of our own.

Layers are pre-norm (Xiong et al. 2020, arXiv 2002.04745). Tokens have no position of
their own: what needs one gets it before.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

HIDDEN: Final = torch.finfo(torch.bfloat16).min
"""Added to the score of a missing token: the least number of bf16, and not minus infinity,
so that an item without any token gives numbers instead of NaN; nobody reads them."""
WIDENING: Final = 4
"""Width of a layer's hidden part, in widths of the trunk (as in most transformers)."""


class Layer(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Attention of every token to all that are there, then two linear layers."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.before_widening = nn.LayerNorm(width)
        self.widen = nn.Linear(width, WIDENING * width)
        self.narrow = nn.Linear(WIDENING * width, width)

    def start_as_identity(self) -> None:
        """Let both branches add nothing at first."""
        for last in (self.mix, self.narrow):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return tokens of the same shape (B, n, width); ``bias`` is added to the scores."""
        tokens = tokens + self._drop(self._attend(self.before_attention(tokens), bias))
        widened = functional.gelu(self.widen(self.before_widening(tokens)))
        return tokens + self._drop(self.narrow(widened))

    def _attend(self, tokens: Tensor, bias: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        split = self.query_key_value(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype)
        )
        return self.mix(mixed.transpose(1, 2).reshape(batch, count, width))

    def _drop(self, tokens: Tensor) -> Tensor:
        return functional.dropout(tokens, self.dropout, training=self.training)


class Trunk(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Several layers and a last normalisation.

    Parameters
    ----------
    width : of a token; a multiple of ``heads``.
    """

    def __init__(self, width: int, layers: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(width, heads, dropout) for _ in range(layers)])
        self.last = nn.LayerNorm(width)
        self._recomputes = False

    def start_as_identity(self) -> None:
        """Let the untrained trunk pass its tokens on, normalised and no more.

        Training then begins with what the frozen towers know (chosen here; the idea is
        that of Fixup, arXiv 1901.09321).
        """
        for layer in self.layers:
            layer.start_as_identity()

    def recompute(self, on: bool) -> None:
        """Keep no activations inside layers while training, and compute them twice."""
        self._recomputes = on

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the last hidden states, shape (B, n, width); ``mask`` is (B, n), bool."""
        bias = attention_bias(mask, tokens.dtype)
        for layer in self.layers:
            tokens = self._run(layer, tokens, bias)
        return self.last(tokens)

    def _run(self, layer: Any, tokens: Tensor, bias: Tensor) -> Tensor:
        if self._recomputes and self.training:
            return checkpoint(layer, tokens, bias, use_reentrant=False)
        return layer(tokens, bias)


def attention_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what hides missing tokens, shape (B, 1, n, n): 0, or `HIDDEN`."""
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, HIDDEN)
    return bias[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
