"""CoSENT: of two graded pairs, the one of the higher grade should have the higher cosine.

    log(1 + sum over (i, j) with grade i > grade j of exp((cos_j - cos_i) / tau))

References
----------
arXiv 2510.12709, its loss on graded text; after Su, "CoSENT" (2022). Cost: O(batch^2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sail_features.training.distributed import gather_rows


def cosent(queries: Tensor, targets: Tensor, grades: Tensor, scale: Tensor) -> Tensor:
    """Return the loss over all pairs of pairs of a batch.

    Parameters
    ----------
    queries, targets : shape (B, dim).
    grades : shape (B,), on any scale; only their order counts.
    scale : one over the temperature.

    Examples
    --------
    >>> right, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> pairs = torch.cat([right, right]), torch.cat([right, up])
    >>> good, bad = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 2.0])
    >>> [round(float(cosent(*pairs, grades, torch.tensor(1.0))), 3) for grades in (good, bad)]
    [0.313, 1.313]
    """
    cosines = gather_rows(cosine_similarity(queries.float(), targets.float(), dim=1))
    grades = gather_rows(grades)
    above = grades[:, None] > grades[None, :]
    differences = (cosines[None, :] - cosines[:, None]) * scale
    return torch.logsumexp(torch.cat([differences[above], differences.new_zeros(1)]), dim=0)
