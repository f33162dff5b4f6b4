"""Which events a snapshot of a user's interests is mined from.

A snapshot at s sees events in [s - lookback, s), so it can be joined inclusively.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sail_features.history import (
    NEVER_US,
    EventLog,
    HistorySlices,
    HistoryWindow,
    compute_slices,
)


@dataclass(frozen=True)
class SnapshotSlices:
    """Snapshots to take: whose, as of when, and the slices of the two logs that each sees."""

    user: NDArray[np.int64]
    time_us: NDArray[np.int64]
    liked: HistorySlices
    history: HistorySlices

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return len(self.user)

    def take(self, which: slice | NDArray[Any]) -> SnapshotSlices:
        """Return some of the snapshots."""
        return SnapshotSlices(
            self.user[which],
            self.time_us[which],
            HistorySlices(self.liked.start[which], self.liked.stop[which]),
            HistorySlices(self.history.start[which], self.history.stop[which]),
        )


@dataclass(frozen=True)
class SeenEvents:
    """The user's likes, which form interests, and the whole history, which answers to them.

    Both logs hold only events whose item has a vector; ``item`` is the vector's row.
    """

    liked: EventLog
    history: EventLog
    liked_window: HistoryWindow
    history_window: HistoryWindow

    def slices(self, user: NDArray[np.int64], time_us: NDArray[np.int64]) -> SnapshotSlices:
        """Return what each (user, time) sees; times may lie before or after all events."""
        return SnapshotSlices(
            user,
            time_us,
            compute_slices(self.liked, user, time_us, self.liked_window),
            compute_slices(self.history, user, time_us, self.history_window),
        )


def flatten_slices(slices: HistorySlices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions in all slices, end to end, and where each slice begins there.

    Examples
    --------
    >>> flatten_slices(HistorySlices(np.array([5, 0]), np.array([7, 1])))
    (array([5, 6, 0]), array([0, 2, 3]))
    """
    offsets = np.concatenate([[0], np.cumsum(slices.count)]).astype(np.int64)
    shift = np.repeat(slices.start - offsets[:-1], slices.count)
    return np.arange(offsets[-1]) + shift, offsets


def latest_of(time_us: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the latest time of each stretch; `NEVER_US`, the beginning, where it is empty.

    Examples
    --------
    >>> latest_of(np.array([5, 7, 6]), np.array([0, 2, 3])).tolist()
    [7, 6]
    """
    padded = np.append(time_us, NEVER_US)
    latest = np.maximum.reduceat(padded, offsets[:-1])
    return np.where(np.diff(offsets) > 0, latest, NEVER_US)
