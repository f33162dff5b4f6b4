"""Looking at many slices or arms: p-values that stay honest."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import Floats


def adjust_p_values(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted by Holm: below 5 % with 5 % chance if nothing is true.

    Parameters
    ----------
    p_values : of all that was looked at, shape (looks,), whatever they depend on.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6, 1979.

    Examples
    --------
    >>> adjust_p_values([0.04, 0.01, 0.3]).tolist()
    [0.08, 0.03, 0.3]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(given.size, 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
