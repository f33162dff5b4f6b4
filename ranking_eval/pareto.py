"""The Pareto front: what nothing else beats in value without costing more."""

from __future__ import annotations

import numpy as np

from ranking_eval.metrics.arrays import Flags, Floats


def find_front(values: Floats, costs: Floats) -> Flags:
    """Return which choices no other one dominates.

    Parameters
    ----------
    values : shape (choices,), higher is better.
    costs : shape (choices, kinds), lower is better.

    Notes
    -----
    One dominates another where it is nowhere worse and somewhere better; equals both
    stay. O(choices² kinds).

    Examples
    --------
    >>> find_front(np.array([1.0, 2.0, 2.0]), np.array([[1.0], [3.0], [4.0]])).tolist()
    [True, True, False]
    """
    no_worse = np.greater_equal.outer(values, values) & _each(np.less_equal, costs).all(axis=-1)
    better = np.greater.outer(values, values) | _each(np.less, costs).any(axis=-1)
    return np.asarray(~(no_worse & better).any(axis=0))


def _each(compare: np.ufunc, costs: Floats) -> Flags:
    """Compare every choice with every other in each kind of cost."""
    return np.asarray(compare(costs[:, None, :], costs[None, :, :]))
