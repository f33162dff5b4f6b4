"""The log-sum-exp of scaled products, some rows at a time: no matrix of all pairs in memory.

The forward pass keeps one number a row; the backward pass makes each block of products
again. Nothing of a block outlives it, which also spares the allocator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

BLOCK: Final = 128
"""Rows of products in memory at a time, chosen here."""


def streamed_logsumexp(
    anchors: Tensor, candidates: Tensor, scale: Tensor, masked: Tensor, there: Tensor, first: int
) -> Tensor:
    """Return log sum over j of exp(scale * anchor_i . candidate_j), shape (anchors,).

    Parameters
    ----------
    anchors, candidates : shapes (A, dim) and (C, dim), float32.
    scale : a scalar.
    masked : shape (2, k), places of anchors and candidates that are left out.
    there : shape (C,), bool; other candidates are left out.
    first : anchor i's own candidate is ``first + i``, which is never left out.
    """
    found: Tensor = _Streamed.apply(anchors, candidates, scale, masked, there, first)
    return found


class _Streamed(torch.autograd.Function):  # type: ignore[misc]  # torch has no types here
    @staticmethod
    def forward(
        context: Any,
        anchors: Tensor,
        candidates: Tensor,
        scale: Tensor,
        masked: Tensor,
        there: Tensor,
        first: int,
    ) -> Tensor:
        sums = torch.empty(len(anchors), device=anchors.device)
        context.first = first
        for start, _, logits in _iter_blocks(anchors, candidates, scale, masked, there, first):
            sums[start : start + len(logits)] = torch.logsumexp(logits, dim=1)
        context.save_for_backward(anchors, candidates, scale, masked, there, sums)
        return sums

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        anchors, candidates, scale, masked, there, sums = context.saved_tensors
        of_anchors, of_candidates = torch.empty_like(anchors), torch.zeros_like(candidates)
        of_scale = torch.zeros_like(scale)
        blocks = _iter_blocks(anchors, candidates, scale, masked, there, context.first)
        for start, cosines, logits in blocks:
            rows = slice(start, start + len(logits))
            shares = logits.sub_(sums[rows, None]).exp_().mul_(gradient[rows, None])
            of_scale += (shares * cosines).sum()
            of_anchors[rows] = shares @ candidates * scale
            of_candidates += shares.T @ (anchors[rows] * scale)
        return of_anchors, of_candidates, of_scale, None, None, None


def _iter_blocks(
    anchors: Tensor, candidates: Tensor, scale: Tensor, masked: Tensor, there: Tensor, first: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the first row of each block, its products, and those scaled and masked."""
    for start in range(0, len(anchors), BLOCK):
        cosines = anchors[start : start + BLOCK] @ candidates.T
        logits = cosines * scale
        rows = torch.arange(len(cosines), device=cosines.device)
        own = first + start + rows
        kept = logits[rows, own]
        inside = (masked[0] >= start) & (masked[0] < start + len(cosines))
        logits.masked_fill_(~there, -torch.inf)
        logits[masked[0, inside] - start, masked[1, inside]] = -torch.inf
        logits[rows, own] = kept
        yield start, cosines, logits
