"""The split by time: warm-up | train | gap | validation | gap | test.

A random split lets the ranker learn from the future of its test rows, so parts
are cut at times. All parts are half-open, [begin, end): rows of one moment are
never on both sides of a cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ranking_eval.times import Microseconds, Times, to_datetime, to_microseconds
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Split:
    """The five times at which rows are cut, and the row numbers of the three parts.

    Warm-up ends where train begins; test runs to the end.
    """

    warmup_end: datetime
    train_end: datetime
    validation_start: datetime
    validation_end: datetime
    test_start: datetime
    train: Rows
    validation: Rows
    test: Rows

    def times(self) -> dict[str, str]:
        """Return the five times by name, in ISO format."""
        names = ("warmup_end", "train_end", "validation_start", "validation_end", "test_start")
        return {name: getattr(self, name).isoformat() for name in names}


def warmup_end(timestamps: Times, config: EvalConfig) -> datetime:
    """Return when the warm-up ends: the time of the ranker's first training row.

    Whatever is fitted to data (histogram edges, encoders) may use what happened
    strictly before, and gets this time as its ``trained_until``.

    Parameters
    ----------
    timestamps : of all impressions to be evaluated, in any order.
    config : shares of the parts.
    """
    times = to_microseconds(timestamps)
    return to_datetime(_time_at_share(times, config.warmup_share))


def split_rows(timestamps: Times, labels: ArrayLike, config: EvalConfig) -> Split:
    """Cut rows by time into warm-up, train, validation and test.

    Parameters
    ----------
    timestamps : the impressions' times, in any order.
    labels : 0 or 1, one a row.
    config : shares of the rows, and the gap, which is taken off the end of
        train and of validation.

    Raises
    ------
    EvaluationError
        A part is empty or holds one label only.

    Notes
    -----
    Rows that share a cut's time fall into the later part, so parts can be
    smaller or larger than their share where many rows share a time.
    """
    times = to_microseconds(timestamps)
    gap = round(config.gap_s * 1e6)
    begin = _time_at_share(times, config.warmup_share)
    validation = _time_at_share(times, 1 - config.test_share - config.validation_share)
    test = _time_at_share(times, 1 - config.test_share)
    flags = np.asarray(labels) == 1
    return Split(
        warmup_end=to_datetime(begin),
        train_end=to_datetime(validation - gap),
        validation_start=to_datetime(validation),
        validation_end=to_datetime(test - gap),
        test_start=to_datetime(test),
        train=rows_between("train", times, flags, begin, validation - gap),
        validation=rows_between("validation", times, flags, validation, test - gap),
        test=rows_between("test", times, flags, test, int(times.max()) + 1),
    )


def _time_at_share(times: Microseconds, share: float) -> int:
    """Return the time of the first row after this share of the rows, in order of time."""
    place = min(round(share * times.size), times.size - 1)
    return int(np.partition(times, place)[place])


def rows_between(
    part: str, times: Microseconds, positive: NDArray[np.bool_], begin: int, end: int
) -> Rows:
    """Return the rows of [begin, end).

    Raises
    ------
    EvaluationError
        There are none, or they hold one label only.
    """
    rows = np.flatnonzero((times >= begin) & (times < end))
    if not rows.size:
        raise EvaluationError.empty_part(part, to_datetime(begin), to_datetime(end))
    if positive[rows].all() or not positive[rows].any():
        raise EvaluationError.one_class(f"{part} part", int(positive[rows[0]]), rows.size)
    return rows
