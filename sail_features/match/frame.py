"""Match features of Arrow tables, in any order: what a notebook and a server call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.history import HistoryWindow, codes_of, ids_of, times_of, us_of
from sail_features.interests.snapshots import InterestSnapshots, build_snapshots
from sail_features.match.block import MatchFeature
from sail_features.match.events import MatchLog, event_types_of, sort_history
from sail_features.match.family import columns_of
from sail_features.match.kernel import MatchResult, compute_match
from sail_features.match.sorted_rows import MatchRows


def compute_match_table(
    rows: pa.Table,
    feedback: pa.Table,
    vectors: EmbeddingTable,
    features: Sequence[MatchFeature],
    window: HistoryWindow,
    *,
    category: NDArray[np.int64] | None = None,
    interests: pa.Table | None = None,
) -> pa.Table:
    """Compute the match features of (user, item, moment) rows.

    Parameters
    ----------
    rows : columns user_id, item_id, event_timestamp: the moment the row is as of.
    feedback : columns user_id, item_id, event_timestamp, weight, and event_type where
        a feature asks for one; of all users in ``rows``, at any time; what lies at or
        after a row's moment isn't seen.
    vectors, features, window, category : see `sail_features.match.kernel.compute_match`.
    interests : rows of ``user_interest``, at any time; later ones aren't seen.

    Returns
    -------
    Table, sorted by user, item and moment: the three columns, ``available_at``,
    ``feature_time`` and one float32 column a feature, null where missing.
    """
    rows = rows.select(list(c.PAIR)).sort_by([(name, "ascending") for name in c.PAIR])
    asked, log, mined = _encode(rows, feedback, vectors, features, interests)
    result = compute_match(
        asked, log, vectors, features, window, category=category, interests=mined
    )
    return answers_of(rows, result, features)


def answers_of(rows: pa.Table, result: MatchResult, features: Sequence[MatchFeature]) -> pa.Table:
    """Return the rows with their times and one float32 column a feature, null where missing."""
    table = rows.append_column(c.AVAILABLE_AT, times_of(result.available_at_us))
    table = table.append_column(c.FEATURE_TIME, times_of(result.feature_time_us))
    columns = np.ascontiguousarray(result.values.T)
    for name, values in zip(columns_of(features), columns, strict=True):
        table = table.append_column(name, pa.array(values, mask=np.isnan(values)))
    return table


def _encode(
    rows: pa.Table,
    feedback: pa.Table,
    vectors: EmbeddingTable,
    features: Sequence[MatchFeature],
    interests: pa.Table | None,
) -> tuple[MatchRows, MatchLog, InterestSnapshots | None]:
    """Turn ids into codes of users and rows of vectors."""
    people = [
        ids_of(table[c.USER_ID]) for table in (rows, feedback, interests) if table is not None
    ]
    user, event_user, *owner = codes_of(*people)
    item, vector_row = _look_up(rows, vectors)
    event_item, event_vector_row = _look_up(feedback, vectors)
    log = sort_history(
        event_user,
        event_item,
        us_of(feedback[c.EVENT_TIMESTAMP]),
        feedback[c.WEIGHT].cast(pa.float32()).to_numpy(),
        event_vector_row,
        _kinds(feedback, event_types_of(features)),
    )
    mined = None if interests is None else snapshots_of(interests, owner[0], vectors.dim)
    return MatchRows(user, vector_row[item], us_of(rows[c.EVENT_TIMESTAMP])), log, mined


def snapshots_of(interests: pa.Table, owner: NDArray[np.int64], dim: int) -> InterestSnapshots:
    """Return rows of ``user_interest``, their vectors cut to the ``dim`` numbers compared.

    Parameters
    ----------
    owner : shape (rows,), each row's user as the code that rows and events use.
    """
    stored = dim
    if c.DIM in interests.column_names and interests.num_rows:
        stored = interests[c.DIM][0].as_py()
    mined = build_snapshots(interests, owner, stored)
    return replace(mined, vectors=normalise(mined.vectors[:, :dim])) if dim < stored else mined


def _kinds(feedback: pa.Table, types: tuple[str, ...]) -> NDArray[np.int64] | None:
    """Return the place of each event's type among ``types``, -1 for others."""
    if not types:
        return None
    place = pc.index_in(feedback[c.EVENT_TYPE], pa.array(types)).fill_null(-1)
    kinds: NDArray[np.int64] = place.to_numpy().astype(np.int64)
    return kinds


def _look_up(
    table: pa.Table, vectors: EmbeddingTable
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each row's item as a code in the order of ids, and the vector of each code."""
    encoded = pc.dictionary_encode(table[c.ITEM_ID].combine_chunks())
    distinct = ids_of(pa.chunked_array([encoded.dictionary]))
    order = np.argsort(distinct, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()], vectors.rows_of(distinct[order])
