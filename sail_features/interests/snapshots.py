"""Mined interests of many users at many moments, as flat arrays, from rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.embeddings import normalise
from sail_features.history import us_of


@dataclass(frozen=True)
class InterestSnapshots:
    """Mined interests of users, one snapshot a (user, time); sorted by user code and time."""

    user: NDArray[np.int64]  # (snapshots,) codes shared with rows and events
    time_us: NDArray[np.int64]  # (snapshots,) events strictly before it were seen
    offsets: NDArray[np.int64]  # (snapshots + 1,) stretch of each snapshot's interests
    vectors: NDArray[np.float32]  # (interests, dim) unit length
    weight: NDArray[np.float32]  # (interests,) decayed importance, sums to 1 a snapshot
    size: NDArray[np.int32]  # (interests,) events in it
    newest_us: NDArray[np.int64]  # (interests,) time of its newest event
    feedback: NDArray[np.float32]  # (interests,) mean signed feedback of the events nearest to it
    available_at_us: NDArray[np.int64]  # (snapshots,)

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return len(self.user)


def build_snapshots(rows: pa.Table, user: NDArray[np.int64], dim: int) -> InterestSnapshots:
    """Return rows of ``user_interest`` as snapshots.

    Parameters
    ----------
    rows : with the columns of `sail_features.schemas.USER_INTEREST`, in any order.
    user : shape (rows,), each row's user as the code that events and impressions use.
    dim : length of one vector.

    Notes
    -----
    Vectors are scaled to length 1 again after their rounding to float16. ``feedback`` is
    NaN where no event was nearest to an interest.
    """
    order = np.lexsort((us_of(rows[c.EVENT_TIMESTAMP]), user))
    rows = rows.take(pa.array(order))
    counts = pc.list_value_length(rows[c.INTEREST_WEIGHTS]).to_numpy()
    packed = b"".join(rows[c.INTEREST_VECTORS].to_pylist())
    return InterestSnapshots(
        user=user[order],
        time_us=us_of(rows[c.EVENT_TIMESTAMP]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        vectors=normalise(np.frombuffer(packed, "<f2").astype(np.float32).reshape(-1, dim)),
        weight=_flat(rows[c.INTEREST_WEIGHTS]).astype(np.float32),
        size=_flat(rows[c.INTEREST_SIZES]).astype(np.int32),
        newest_us=_flat(rows[c.INTEREST_TIMES]).astype(np.int64),
        feedback=_flat(rows[c.INTEREST_FEEDBACK]).astype(np.float32),
        available_at_us=us_of(rows[c.AVAILABLE_AT]),
    )


def _flat(lists: pa.ChunkedArray) -> NDArray[np.generic]:
    """Return the values of a column of lists, end to end."""
    values: NDArray[np.generic] = pc.list_flatten(lists).to_numpy()
    return values
