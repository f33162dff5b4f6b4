"""Counts of an owner's events strictly before a row's moment, for any kind of owner.

Sorted once, then two binary searches and a difference of running sums a row; the
owner may be a user, an item, a pair of both or a user and a category.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sail_features.history import NEVER_US, EventLog, count_before

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RunningCounts:
    """What an owner had done before each row; every array has shape (rows,).

    ``days_since`` is NaN where there was no event; ``positive_rate`` is NaN-free:
    it is drawn to one half by ``smoothing`` imagined events.
    """

    events: Floats
    recent: Floats
    liked: Floats
    positive_rate: Floats
    days_since: Floats
    newest_us: NDArray[np.int64]


def compute_running_counts(
    log: EventLog,
    owner: NDArray[np.int64],
    as_of_us: NDArray[np.int64],
    *,
    recent_us: int,
    smoothing: float,
) -> RunningCounts:
    """Count each owner's events in (-inf, as_of) and in [as_of - recent, as_of).

    Parameters
    ----------
    log : events by owner and time.
    owner, as_of_us : shape (rows,), in any order.
    recent_us : length of the recent window in microseconds.
    smoothing : weight of the prior rate of one half, in events; chosen here.

    Notes
    -----
    An event at ``as_of_us`` isn't counted. Cost: O((rows + events) log events).
    """
    stop = count_before(log, owner, as_of_us)
    first = count_before(log, owner, np.full(len(owner), NEVER_US))
    recent = stop - count_before(log, owner, as_of_us - recent_us)
    liked = _sum_between(log.weight > 0, first, stop)
    events = (stop - first).astype(np.float32)
    newest = np.full(len(owner), NEVER_US)
    any_event = stop > first
    newest[any_event] = log.time_us[stop[any_event] - 1]
    days = (as_of_us - np.where(any_event, newest, as_of_us)).astype(np.float64) / 86_400e6
    return RunningCounts(
        events,
        recent.astype(np.float32),
        liked.astype(np.float32),
        _rate(liked, events, smoothing),
        np.where(any_event, days, np.nan).astype(np.float32),
        newest,
    )


def compute_mean_before(
    log: EventLog, values: Floats, owner: NDArray[np.int64], as_of_us: NDArray[np.int64]
) -> Floats:
    """Return the mean of ``values`` over each owner's earlier events; NaN where none.

    Parameters
    ----------
    values : shape (events,), one a log entry; NaN entries are left out.
    """
    stop = count_before(log, owner, as_of_us)
    first = count_before(log, owner, np.full(len(owner), NEVER_US))
    known = np.isfinite(values)
    count = _sum_between(known, first, stop)
    total = _sum_between(np.where(known, values, 0), first, stop)
    mean = np.full(len(owner), np.nan, np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean


def _rate(liked: NDArray[np.float64], events: Floats, smoothing: float) -> Floats:
    denominator = events + smoothing
    rate = np.full(len(events), np.nan, np.float32)
    np.divide(
        liked + 0.5 * smoothing, denominator, out=rate, where=denominator > 0, casting="same_kind"
    )
    return rate


def _sum_between(
    values: NDArray[np.generic], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    between: NDArray[np.float64] = running[stop] - running[start]
    return between
