"""Symmetric InfoNCE: a query must find its target among the batch's, and the other way.

Memory grows with the batch and not with its square (`streamed`). With several processes
the vectors of all are held against each other. Cost: O(batch^2 dim) a direction.

References
----------
arXiv 2510.12709, its contrastive loss and its hard negatives beside those of the batch.
That it is symmetric, as in CLIP, that known positives and the query itself aren't counted
as negatives, and that hard negatives serve the query's direction alone, is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sail_features.training.distributed import gather_rows, rank, world_size
from sail_features.training.losses.streamed import streamed_logsumexp


@dataclass(frozen=True)
class Hard:
    """Negatives of each query: vectors (B, K, dim), and which of them are there, (B, K)."""

    vectors: Tensor
    there: Tensor


def info_nce(
    queries: Tensor,
    targets: Tensor,
    scale: Tensor,
    *,
    known: Tensor | None = None,
    valid: Tensor | None = None,
    hard: Hard | None = None,
) -> Tensor:
    """Return the mean loss of both directions over the valid pairs.

    Parameters
    ----------
    queries, targets : shape (B, dim), row i of one belongs to row i of the other; this
        process' share where there are several.
    scale : one over the temperature.
    known : shape (2, k), places of queries and targets that are no negatives of each
        other, counted over all processes.
    valid : shape (B,), bool; a pair that isn't valid is neither positive nor negative.
    hard : further negatives of the queries.

    Examples
    --------
    >>> same = torch.eye(2)
    >>> round(float(info_nce(same, same, torch.tensor(1.0))), 4)  # log(1 + 1/e)
    0.3133
    """
    valid = queries.new_ones(len(queries), dtype=torch.bool) if valid is None else valid
    there = gather_rows(valid)
    known = queries.new_zeros((2, 0), dtype=torch.long) if known is None else known
    with torch.autocast(queries.device.type, enabled=False):
        queries, targets = normalize(queries.float(), dim=1), normalize(targets.float(), dim=1)
        forward = _directed(queries, gather_rows(targets), scale, known, there, hard)
        backward = _directed(targets, gather_rows(queries), scale, known.flip(0), there, None)
    losses = torch.where(valid, (forward + backward) / 2, 0.0)
    return losses.sum() * world_size() / there.sum().clamp(min=1)


def _directed(
    anchors: Tensor,
    candidates: Tensor,
    scale: Tensor,
    known: Tensor,
    there: Tensor,
    hard: Hard | None,
) -> Tensor:
    """Return the loss of each of this process' anchors among the candidates of all."""
    first = rank() * len(anchors)
    ours = (known[0] >= first) & (known[0] < first + len(anchors))
    masked = torch.stack([known[0, ours] - first, known[1, ours]])
    own = candidates[first : first + len(anchors)]
    positive = (anchors * own).sum(dim=1) * scale
    sums = streamed_logsumexp(anchors, candidates, scale, masked, there, first)
    if hard is not None:
        further = torch.einsum("bd,bkd->bk", anchors, normalize(hard.vectors.float(), dim=2))
        further = (further * scale).masked_fill(~hard.there, -torch.inf)
        sums = torch.logsumexp(torch.cat([sums[:, None], further], dim=1), dim=1)
    return sums - positive
