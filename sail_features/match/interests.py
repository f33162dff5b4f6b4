"""Which mined interests each row may see, and how similar its target is to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sail_features.embeddings import EmbeddingTable
from sail_features.history import US_PER_DAY
from sail_features.interests.snapshots import InterestSnapshots
from sail_features.match.block import Floats, Integers, InterestCells
from sail_features.match.similarity import Similarity
from sail_features.match.sorted_rows import MatchRows


@dataclass(frozen=True)
class SeenInterests:
    """For each of the sorted rows the stretch [start, stop) of the interests it may see.

    A row sees the user's newest snapshot whose time and whose availability are at or
    before the row's moment; nothing where there is none. Both bounds ascend.
    """

    snapshots: InterestSnapshots
    rows: MatchRows
    start: Integers
    stop: Integers
    every: Integers

    @classmethod
    def of(cls, snapshots: InterestSnapshots, rows: MatchRows) -> SeenInterests:
        """Find what each row sees; rows are sorted by user and moment."""
        found = _find_newest(
            snapshots.user, snapshots.time_us, snapshots.available_at_us, rows.user, rows.as_of_us
        )
        seen = found >= 0
        # A row that sees nothing has an empty stretch behind what the rows before it see.
        stop = np.maximum.accumulate(np.where(seen, snapshots.offsets[found + 1], 0))
        start = np.where(seen, snapshots.offsets[found], stop)
        return cls(snapshots, rows, start, stop, np.arange(len(snapshots.weight)))

    def compare(
        self, stretch: slice, table: EmbeddingTable, similarity: Similarity
    ) -> InterestCells:
        """Return the interests of one block's rows."""
        start, stop, mined = self.start[stretch], self.stop[stretch], self.snapshots
        similarities = similarity(
            table.vectors,
            self.rows.item[stretch],
            mined.vectors,
            self.every,
            start[:, None],
            stop[:, None],
        )
        about = _describe(
            start,
            stop,
            self.rows.as_of_us[stretch],
            mined.newest_us,
            mined.weight,
            mined.size,
            mined.feedback,
        )
        return InterestCells(about[0], similarities, *about[1:])


def no_interests(rows: int) -> InterestCells:
    """Return the interests of rows that see none."""
    nothing = np.empty(0, np.float32)
    return InterestCells(np.zeros(rows + 1, np.int64), *[nothing] * 5)


@njit(cache=True, nogil=True)
def _find_newest(
    owner: Integers, time_us: Integers, available_us: Integers, user: Integers, as_of_us: Integers
) -> Integers:
    """Return the snapshot that each row sees, -1 for none."""
    found = np.full(len(user), -1, np.int64)
    end = 0
    for row in range(len(user)):
        while end < len(owner) and (
            owner[end] < user[row] or (owner[end] == user[row] and time_us[end] <= as_of_us[row])
        ):
            end += 1
        newest = end - 1
        while newest >= 0 and owner[newest] == user[row] and found[row] < 0:
            if available_us[newest] <= as_of_us[row]:
                found[row] = newest
            newest -= 1
    return found


@njit(cache=True, nogil=True)
def _describe(
    start: Integers,
    stop: Integers,
    as_of_us: Integers,
    newest_us: Integers,
    weight: Floats,
    size: NDArray[np.int32],
    feedback: Floats,
) -> tuple[Integers, Floats, Floats, Floats, Floats]:
    """Return offsets, weight, size, age in days and feedback of what each row sees."""
    offsets = np.zeros(len(start) + 1, np.int64)
    offsets[1:] = np.cumsum(stop - start)
    about = np.empty((4, offsets[-1]), np.float32)
    for row in range(len(start)):
        for seen in range(start[row], stop[row]):
            cell = offsets[row] + seen - start[row]
            about[0, cell] = weight[seen]
            about[1, cell] = size[seen]
            about[2, cell] = (as_of_us[row] - newest_us[seen]) / US_PER_DAY
            about[3, cell] = feedback[seen]
    return offsets, about[0], about[1], about[2], about[3]
