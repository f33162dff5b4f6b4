"""The one input of every match feature: rows of similarities to a user's past.

A feature sees nothing else: no ids, no clock, no vectors. So the Spark job, a
notebook and a server that fill the same block get the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class HistoryBlock:
    """Target items against the history items that each may see.

    Parameters
    ----------
    similarity : shape (rows, slots), cosine of the target and each history item.
    weight : shape (rows, slots), signed feedback of each event.
    age_days : shape (rows, slots), days from the event to the row, above 0.
    seen : shape (rows, slots), False where a slot is empty; the other arrays may
        hold anything there.

    Notes
    -----
    Slot 0 is the newest event. Only events strictly before the row's moment are
    in a block: `sail_features.history` cuts them.
    """

    similarity: Floats
    weight: Floats
    age_days: Floats
    seen: Mask

    @cached_property
    def positive(self) -> Mask:
        """Events the user liked: feedback above 0."""
        return self.seen & (self.weight > 0)

    @cached_property
    def negative(self) -> Mask:
        """Events the user disliked, returned, or was shown and passed over."""
        return self.seen & (self.weight < 0)

    @cached_property
    def positive_descending(self) -> Floats:
        """Similarities to liked items, most similar first; -inf in empty slots."""
        return sort_descending(self.similarity, self.positive)

    @cached_property
    def negative_descending(self) -> Floats:
        """Similarities to disliked items, most similar first; -inf in empty slots."""
        return sort_descending(self.similarity, self.negative)


class MatchFeature(Protocol):
    """A named, versioned, pure function of a `HistoryBlock`.

    ``version`` rises with every change of the definition; ``parameters`` are all
    that shape the numbers. Both enter the ``feature_set_id`` of each row.
    """

    @property
    def name(self) -> str:
        """The feature's name, also the prefix of its columns."""

    @property
    def version(self) -> int:
        """The definition's version."""

    @property
    def parameters(self) -> dict[str, object]:
        """Everything that shapes the numbers, as JSON-able values."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order that `compute` returns them."""

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, len(columns)); NaN means missing."""


def sort_descending(values: Floats, mask: Mask) -> Floats:
    """Sort each row from high to low, with masked-out slots as -inf at the end.

    Examples
    --------
    >>> sort_descending(np.float32([[-1.0, 0.5, 9.0]]), np.array([[True, True, False]]))
    array([[ 0.5, -1. , -inf]], dtype=float32)
    """
    masked = np.where(mask, values, np.float32(-np.inf))
    masked *= -1
    masked.sort(axis=1)
    masked *= -1
    return masked


def mean_of_top(descending: Floats, k: int) -> Floats:
    """Return each row's mean of its k highest values, of fewer where there are fewer.

    Parameters
    ----------
    descending : shape (rows, slots), from `sort_descending`.

    Examples
    --------
    >>> mean_of_top(np.float32([[0.5, -0.5, -np.inf], [-np.inf] * 3]), 3)
    array([ 0., nan], dtype=float32)
    """
    top = descending[:, :k]
    return weighted_mean(top, np.isfinite(top).astype(np.float32))


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Return each row's weighted mean; NaN where its weights add up to nothing.

    Values under weight 0 may be anything, infinite ones too.

    Examples
    --------
    >>> weighted_mean(np.float32([[1, 4, np.inf], [1, 1, 1]]), np.float32([[2, 1, 0], [0, 0, 0]]))
    array([ 2., nan], dtype=float32)
    """
    total = weights.sum(axis=1)
    weighed = np.where(weights != 0, values, np.float32(0)) * weights
    mean: Floats = np.full(len(values), np.nan, np.float32)
    np.divide(weighed.sum(axis=1), total, out=mean, where=total > 0)
    return mean


def nan_where_empty(values: Floats) -> Floats:
    """Turn the -inf of an empty maximum into NaN."""
    return np.where(np.isfinite(values), values, np.float32(np.nan))
