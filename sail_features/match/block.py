"""The one input of every match feature: what each row's user did, as far as the row may see.

A feature sees nothing else: no ids, no clock, no vectors. So the Spark job, a
notebook and a server that fill the same block get the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

LIKED: Final = 0
DISLIKED: Final = 1
UNDECIDED: Final = 2
PARTS: Final = 3
"""The three parts of a row's history: feedback above, below and equal to 0."""


class InterestCells(NamedTuple):
    """The mined interests that each row may see, row after row.

    Parameters
    ----------
    offsets : shape (rows + 1,), each row's stretch of the other arrays.
    similarity : shape (cells,), cosine of the target and the interest.
    weight : shape (cells,), decayed importance, adding up to 1 for a row.
    size : shape (cells,), how many events are in it.
    age_days : shape (cells,), days from its newest event to the row.
    feedback : shape (cells,), mean signed feedback on the events nearest to it.
    """

    offsets: Integers
    similarity: Floats
    weight: Floats
    size: Floats
    age_days: Floats
    feedback: Floats


class HistoryBlock(NamedTuple):
    """Target items against the history items that each may see, row after row.

    Parameters
    ----------
    bounds : shape (rows, 4): cells [bounds[part], bounds[part + 1]) of a row are those
        of one part, oldest first. `LIKED`: feedback above 0. `DISLIKED`: below 0, that
        is returned, rated low, or shown and passed over. `UNDECIDED`: no verdict.
    similarity : shape (cells,), cosine of the target and each history item.
    weight : shape (cells,), signed feedback of each event.
    age_days : shape (cells,), days from the event to the row, above 0.
    same_category : shape (cells,), whether the item is of the target's category.
    top : shape (rows, 3, `TOP`), the highest similarities of each part in descending
        order, -inf where there are fewer.
    categorised : shape (rows,), whether the target's category is known.
    listed : shape (rows,), events in the row's history, those without a vector too.
    interests : mined before the row's moment.

    Notes
    -----
    Only events strictly before the row's moment are in a block:
    `sail_features.history` cuts them. Fields are flat arrays, so that compiled code
    takes a block as it is.
    """

    bounds: Integers
    similarity: Floats
    weight: Floats
    age_days: Floats
    same_category: Mask
    top: Floats
    categorised: Mask
    listed: Integers
    interests: InterestCells


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


@dataclass(frozen=True)
class HistoryView:
    """A part of the history: the last days of it, or events of one type.

    Parameters
    ----------
    window_days : events older than this are left out; None keeps all.
    event_type : events of other types are left out; None keeps all.

    Examples
    --------
    >>> HistoryView(window_days=7).suffix, HistoryView(event_type="buy").suffix
    ('_7d', '_buy')
    """

    window_days: int | None = None
    event_type: str | None = None

    @property
    def suffix(self) -> str:
        """What the columns of features on this view end with."""
        days = "" if self.window_days is None else f"_{self.window_days}d"
        return days + ("" if self.event_type is None else f"_{self.event_type}")


WHOLE: Final = HistoryView()


@dataclass(frozen=True)
class Viewed:
    """A feature of a part of the history; its columns end with the view's suffix."""

    feature: MatchFeature
    view: HistoryView

    @property
    def name(self) -> str:
        """The feature's name and the view's suffix."""
        return self.feature.name + self.view.suffix

    @property
    def version(self) -> int:
        """The feature's version."""
        return self.feature.version

    @property
    def parameters(self) -> dict[str, object]:
        """The feature's parameters and the view."""
        view = {"window_days": self.view.window_days, "event_type": self.view.event_type}
        return {**self.feature.parameters, **view}

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature's columns, each with the view's suffix."""
        return tuple(column + self.view.suffix for column in self.feature.columns)

    def compute(self, block: HistoryBlock) -> Floats:
        """Return the feature of a block that holds this view's events."""
        return self.feature.compute(block)


def view_of(feature: MatchFeature) -> HistoryView:
    """Return the part of the history that a feature is of."""
    return feature.view if isinstance(feature, Viewed) else WHOLE


@njit(cache=True, nogil=True)
def part_of(weight: float) -> int:
    """Return the part that an event of this feedback belongs to."""
    return (weight <= 0) + (weight == 0)


@njit(cache=True, nogil=True)
def mean_of_top(top: Floats, k: int) -> float:
    """Return the mean of the first k of a descending list, of fewer where there are fewer.

    Examples
    --------
    >>> mean_of_top(np.float32([0.5, -0.5, -np.inf]), 3)
    0.0
    """
    total, count = 0.0, 0
    while count < k and top[count] > -np.inf:
        total += top[count]
        count += 1
    return total / count if count else np.nan
