"""Interests of Arrow tables: what a Spark task and a notebook both call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.config import HistoryConfig, InterestConfig
from sail_features.embeddings import EmbeddingTable
from sail_features.history import HistoryWindow, codes_of, ids_of, sort_events, times_of, us_of
from sail_features.interests.changes import SnapshotTimes, find_changes
from sail_features.interests.mining import MinedInterests, mine_interests
from sail_features.interests.seen import SeenEvents

SNAPSHOTS_A_BATCH: Final = 1_024
"""Rows of one result: 6 MB at 8 interests of 384 dimensions."""


def iter_interest_tables(
    feedback: pa.Table,
    vectors: EmbeddingTable,
    times: SnapshotTimes,
    config: InterestConfig,
    history: HistoryConfig,
    changed_vectors: NDArray[np.bool_] | None = None,
) -> Iterator[pa.Table]:
    """Mine the interests of all users in ``feedback``, at each moment that changes them.

    Parameters
    ----------
    feedback : columns user_id, item_id, event_timestamp, weight, in any order; events
        at or after a moment aren't seen there. Items without a vector don't count.
    vectors : of the items.
    times : the moments.
    config : algorithm, and which likes form interests.
    history : which events tell the feedback; the window of the match features.
    changed_vectors : see `find_changes`.

    Yields
    ------
    At least one table, of at most `SNAPSHOTS_A_BATCH` rows; together sorted by user and
    moment: user_id, event_timestamp, available_at and the columns of interests.
    """
    users = ids_of(feedback[c.USER_ID])
    distinct = np.unique(users)
    seen = _see(feedback, users, vectors, config, history)
    wanted = find_changes(seen, times, changed_vectors)
    for start in range(0, max(1, len(wanted)), SNAPSHOTS_A_BATCH):
        batch = wanted.take(slice(start, start + SNAPSHOTS_A_BATCH))
        mined = mine_interests(seen, batch, vectors, config)
        yield pa.table({c.USER_ID: id_array(distinct[batch.user]), **_columns(mined, vectors)})


def compute_interest_table(
    feedback: pa.Table,
    vectors: EmbeddingTable,
    times: SnapshotTimes,
    config: InterestConfig,
    history: HistoryConfig,
) -> pa.Table:
    """Return the tables of `iter_interest_tables` as one."""
    return pa.concat_tables(iter_interest_tables(feedback, vectors, times, config, history))


def _see(
    feedback: pa.Table,
    users: NDArray[np.generic],
    vectors: EmbeddingTable,
    config: InterestConfig,
    history: HistoryConfig,
) -> SeenEvents:
    """Turn ids into codes of users and rows of vectors, and split off the likes."""
    (user,) = codes_of(users)
    row = vectors.rows_of(ids_of(feedback[c.ITEM_ID]))
    time_us = us_of(feedback[c.EVENT_TIMESTAMP])
    weight = feedback[c.WEIGHT].cast(pa.float32()).to_numpy()
    known, liked = row >= 0, (row >= 0) & (weight > 0)
    return SeenEvents(
        sort_events(user[liked], time_us[liked], row[liked], weight[liked]),
        sort_events(user[known], time_us[known], row[known], weight[known]),
        HistoryWindow(timedelta(days=config.lookback_days), config.max_events),
        HistoryWindow.from_config(history),
    )


def _columns(mined: MinedInterests, vectors: EmbeddingTable) -> dict[str, pa.Array]:
    found = mined.snapshots
    offsets = pa.array(found.offsets, pa.int32())
    ids = vectors.ids[mined.medoid]
    return {
        c.EVENT_TIMESTAMP: times_of(found.time_us),
        c.AVAILABLE_AT: times_of(found.available_at_us),
        c.INTEREST_VECTORS: _pack(found.vectors, found.offsets),
        c.INTEREST_WEIGHTS: pa.ListArray.from_arrays(offsets, pa.array(found.weight)),
        c.INTEREST_MEDOIDS: pa.ListArray.from_arrays(offsets, id_array(ids)),
        c.INTEREST_SIZES: pa.ListArray.from_arrays(offsets, pa.array(found.size)),
        c.INTEREST_TIMES: pa.ListArray.from_arrays(offsets, pa.array(found.newest_us)),
        c.INTEREST_FEEDBACK: pa.ListArray.from_arrays(offsets, pa.array(found.feedback)),
    }


def _pack(vectors: NDArray[np.float32], offsets: NDArray[np.int64]) -> pa.Array:
    """Return each stretch of vectors as one value of little-endian float16 bytes."""
    packed = np.ascontiguousarray(vectors, "<f2")
    ends = (offsets * packed.itemsize * packed.shape[1]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(packed)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def id_array(ids: NDArray[np.generic]) -> pa.Array:
    """Return ids as Arrow holds them: int64, or strings."""
    return pa.array(ids, pa.int64() if ids.dtype == np.int64 else pa.string())
