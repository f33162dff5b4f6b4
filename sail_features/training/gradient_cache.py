"""Encodes a large batch in chunks, at the memory of one chunk and with exact gradients.

A contrastive loss couples all examples of a batch, so a large batch can't be summed from
small ones. But given the gradient of the loss by each vector, the model's own gradient is
a sum over examples: the vectors are computed chunk by chunk without keeping activations,
and the backward pass computes each chunk again, with its randomness restored, one at a
time. The cost is a second forward pass. Inputs are fetched anew for each chunk, too.

References
----------
Gao, Zhang, Han and Callan, "Scaling deep contrastive learning batch size under memory
limited setup" (arXiv 2101.06983), section 3. That each chunk is one of torch's activation
checkpoints, which spares the explicit cache of gradients, is chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Rows = TypeVar("Rows")
Vectors = dict[str, Tensor]


def encode_in_chunks(
    encode: Callable[[Sequence[int]], Vectors], rows: Sequence[int], chunk_size: int | None
) -> Vectors:
    """Return what ``encode`` makes of all rows, as if it were called once.

    Parameters
    ----------
    encode : takes some of the rows and returns named tensors of one line a row; it must be
        a function of the rows alone (but for torch's randomness).
    rows : what to encode.
    chunk_size : rows that are computed at once; None takes all of them, and keeps their
        activations.

    Examples
    --------
    >>> weight = torch.ones(3, requires_grad=True)
    >>> double = lambda rows: {"v": weight * torch.tensor(rows).float()[:, None]}
    >>> encode_in_chunks(double, [1, 2, 3], 2)["v"].sum().backward()
    >>> weight.grad
    tensor([6., 6., 6.])
    """
    if chunk_size is None or len(rows) <= chunk_size:
        return encode(rows)
    parts = [
        _recomputed(encode, rows[start : start + chunk_size])
        for start in range(0, len(rows), chunk_size)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _recomputed(encode: Callable[[Sequence[int]], Vectors], rows: Sequence[int]) -> Vectors:
    if not torch.is_grad_enabled():
        return encode(rows)
    found: Vectors = checkpoint(encode, rows, use_reentrant=False, preserve_rng_state=True)
    return found
