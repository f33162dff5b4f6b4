"""A loss summed over prefixes of the vectors, so that each prefix is an embedding, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def sum_over_prefixes(
    loss: Callable[..., Tensor], sizes: Sequence[int], *vectors: Tensor
) -> Tensor:
    """Return the sum of a loss over the first numbers of all vectors, each size once.

    Unit weights as in arXiv 2510.12709; that slices are prefixes is chosen
    here, after Matryoshka representation learning (arXiv 2205.13147, section 3).

    Examples
    --------
    >>> float(sum_over_prefixes(torch.sum, [1, 3], torch.ones(2, 3)))
    8.0
    """
    return torch.stack([loss(*(part[..., :size] for part in vectors)) for size in sizes]).sum()
