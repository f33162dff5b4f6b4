"""When a user's interests change: the only moments that need a snapshot.

A snapshot rests on two slices of the user's events: the likes, and the history. It is
the one before it, to the last bit, while neither slice changes: weights are shares, and
shares don't change with time. So a table of changes holds everything, and a day's run
only looks at users with an event that came in, or that fell out of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sail_features.embeddings import EmbeddingTable
from sail_features.history import EventLog, HistorySlices
from sail_features.interests.seen import SeenEvents, SnapshotSlices

ALWAYS_US: Final = 1 << 61
"""Longer than any log, and far from int64's end; stands for "no earlier snapshot"."""
_Moments = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Users and moments, one each."""


@dataclass(frozen=True)
class SnapshotTimes:
    """The moments at which snapshots are taken: ``as_of``, and every so often before it.

    Parameters
    ----------
    as_of_us : the last moment.
    every_us : time between moments; `ALWAYS_US` leaves ``as_of_us`` alone.
    since_us : a moment that an earlier run ended with; only later ones are taken.
        None: from the first event on.
    """

    as_of_us: int
    every_us: int = ALWAYS_US
    since_us: int | None = None

    def first_after(self, time_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first moment strictly after each time; later than ``as_of_us``: none.

        Examples
        --------
        >>> SnapshotTimes(as_of_us=100, every_us=10).first_after(np.array([89, 90, 99, 100]))
        array([ 90, 100, 100, 110])
        """
        return self.as_of_us - (self.as_of_us - 1 - time_us) // self.every_us * self.every_us

    def before(self, moment_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the moment before each one: that of an earlier run, for the first."""
        earlier = moment_us - self.every_us
        return earlier if self.since_us is None else np.maximum(earlier, self.since_us)


def find_changes(
    seen: SeenEvents, times: SnapshotTimes, changed_vectors: NDArray[np.bool_] | None = None
) -> SnapshotSlices:
    """Return the snapshots that differ from the same user's one before.

    Parameters
    ----------
    seen : events of any time; none at or after a moment counts there.
    times : the moments.
    changed_vectors : shape (items,), which vectors the run before ``since_us`` didn't
        have. Users with such an item in a slice change at the first moment.

    Returns
    -------
    Snapshots sorted by user and moment. One without interests is among them only where
    the user had some before.

    Notes
    -----
    Cost: O(events log events), whatever the number of moments.
    """
    moments = _moments_of_changes(seen, times)
    if changed_vectors is not None and times.since_us is not None:
        moments.append(_first_moment_of_all(seen, times, times.since_us))
    now = seen.slices(*_distinct(moments, times))
    before = seen.slices(now.user, times.before(now.time_us))
    changed = _differ(now.liked, before.liked) | _differ(now.history, before.history)
    if changed_vectors is not None and times.since_us is not None:
        first = now.time_us == times.first_after(np.array([times.since_us]))
        changed |= first & _any_in(seen.liked, now.liked, changed_vectors)
        changed |= first & _any_in(seen.history, now.history, changed_vectors)
    changed &= (now.liked.count > 0) | (before.liked.count > 0)
    return now.take(changed)


def _moments_of_changes(seen: SeenEvents, times: SnapshotTimes) -> list[_Moments]:
    """Return the owner of each event, and the moments after it came in and fell out."""
    return [
        (log.owner, times.first_after(time_us))
        for log, window in ((seen.liked, seen.liked_window), (seen.history, seen.history_window))
        for time_us in (log.time_us, log.time_us + window.lookback_us)
    ]


def _first_moment_of_all(seen: SeenEvents, times: SnapshotTimes, since_us: int) -> _Moments:
    users = np.unique(seen.history.owner)
    return users, np.repeat(times.first_after(np.array([since_us])), len(users))


def _distinct(moments: list[_Moments], times: SnapshotTimes) -> _Moments:
    """Return the (user, moment) within ``times``, sorted, each once."""
    user, moment = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    taken = moment <= times.as_of_us
    if times.since_us is not None:
        taken &= moment > times.since_us
    user, moment = user[taken], moment[taken]
    order = np.lexsort((moment, user))
    user, moment = user[order], moment[order]
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (moment[1:] != moment[:-1])
    return user[new], moment[new]


def _differ(one: HistorySlices, other: HistorySlices) -> NDArray[np.bool_]:
    same_events = (one.start == other.start) & (one.stop == other.stop)
    both_empty = (one.count == 0) & (other.count == 0)
    differ: NDArray[np.bool_] = ~(same_events | both_empty)
    return differ


def _any_in(
    log: EventLog, slices: HistorySlices, changed_vectors: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell for each slice whether one of its events' vectors changed."""
    before = np.concatenate([[0], np.cumsum(changed_vectors[log.item])])
    found: NDArray[np.bool_] = before[slices.stop] > before[slices.start]
    return found


def find_changed_vectors(
    before: EmbeddingTable, now: EmbeddingTable, block: int = 65_536
) -> NDArray[np.bool_]:
    """Tell for each row of ``now`` whether ``before`` had no such item, or another vector.

    Examples
    --------
    >>> def table(ids, vectors):
    ...     return EmbeddingTable(np.array(ids), np.float32(vectors), "hash", np.zeros(len(ids)))
    >>> find_changed_vectors(table([3, 5], [[1, 0], [0, 1]]),
    ...                      table([3, 4, 5], [[1, 0], [0, 1], [1, 0]]))
    array([False,  True,  True])
    """
    changed = np.empty(len(now), bool)
    for start in range(0, len(now), block):
        part = slice(start, start + block)
        row = before.rows_of(now.ids[part])
        changed[part] = (row < 0) | (before.vectors[row] != now.vectors[part]).any(axis=1)
    return changed
