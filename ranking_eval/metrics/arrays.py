"""What every metric asks of its arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sail_features.errors import EvaluationError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]

SPARSE_FACTOR: Final = 4
"""Integer groups up to this many times the row count are taken as codes (chosen here)."""


def check_scored(where: str, labels: ArrayLike, scores: ArrayLike) -> tuple[Flags, Floats]:
    """Return where the label is 1, and the scores as float64.

    Raises
    ------
    EvaluationError
        No rows, lengths that differ, labels other than 0 and 1, or a NaN score.
    """
    given = np.asarray(labels)
    values = np.asarray(scores, dtype=np.float64)
    if given.ndim != 1 or given.shape != values.shape or not given.size:
        raise EvaluationError.bad_arrays(where, f"labels {given.shape}, scores {values.shape}")
    positive = given == 1
    if not (positive | (given == 0)).all():
        odd = np.unique(given[~(positive | (given == 0))])
        raise EvaluationError.not_binary(where, odd.tolist())
    if np.isnan(values).any():
        raise EvaluationError.bad_arrays(where, f"{np.isnan(values).sum()} scores are NaN")
    return positive, values


def check_weights(where: str, weights: ArrayLike | None, rows: int) -> Floats:
    """Return one weight a row as float64; None weighs every row by 1.

    Raises
    ------
    EvaluationError
        There isn't one weight a row, one is negative or not finite, or all are 0.
    """
    if weights is None:
        return np.ones(rows)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (rows,):
        raise EvaluationError.bad_arrays(where, f"weights {given.shape} for {rows} rows")
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise EvaluationError.bad_arrays(where, "a weight is negative or not finite")
    if not given.any():
        raise EvaluationError.bad_arrays(where, "every weight is 0")
    return given


def check_both_labels(where: str, positive: Flags, weights: Floats | None = None) -> None:
    """Raise `EvaluationError` where all labels are the same; rows of weight 0 don't count."""
    counted = positive if weights is None else positive[weights > 0]
    if counted.all() or not counted.any():
        raise EvaluationError.one_class(where, int(counted.any()), counted.size)


def check_probabilities(where: str, values: Floats) -> None:
    """Raise `EvaluationError` where a value lies outside 0 to 1."""
    outside = (values < 0) | (values > 1)
    if outside.any():
        raise EvaluationError.bad_arrays(where, f"{outside.sum()} probabilities lie outside 0 to 1")


def sum_by_group(values: ArrayLike, groups: Codes, size: int) -> Floats:
    """Return the sum of values in each group 0, 1, ... below ``size``."""
    return np.bincount(groups, np.asarray(values, dtype=np.float64), size).astype(np.float64)


def compute_codes(groups: ArrayLike, rows: int) -> Codes:
    """Return each row's group as a small integer from 0; not every integer need occur.

    Raises
    ------
    EvaluationError
        There isn't one group a row.
    """
    given = np.asarray(groups)
    if given.shape != (rows,):
        raise EvaluationError.bad_arrays("groups", f"{given.shape} for {rows} rows")
    is_code = given.dtype.kind in "iu" and given.min() >= 0
    if is_code and given.max() < SPARSE_FACTOR * rows:
        return given.astype(np.int64, copy=False)
    return np.unique(given, return_inverse=True)[1]
