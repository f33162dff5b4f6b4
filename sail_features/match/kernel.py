"""From rows and events to match features: the one path for batch, server and notebook.

Rows and events are sorted once by user and time, liked, disliked and undecided events
apart, so a row's history is three slices. Rows are then worked off in blocks of bounded
size: cosines (`similarity`), what is known of the events compared (`selection`), features.
A block is nobody's but its thread's, and a row's numbers depend on nothing but its own
history: they have the same bits whatever the order of rows, the cut of blocks and the
number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sail_features.embeddings import EmbeddingTable
from sail_features.history import NEVER_US, US_PER_DAY, HistoryWindow
from sail_features.interests.snapshots import InterestSnapshots
from sail_features.match.block import (
    Floats,
    HistoryBlock,
    HistoryView,
    Integers,
    InterestCells,
    MatchFeature,
    view_of,
)
from sail_features.match.events import MatchLog, event_types_of
from sail_features.match.family import columns_of
from sail_features.match.interests import SeenInterests, no_interests
from sail_features.match.selection import ANY_TYPE, ComparedRows, PastEvents, select_view
from sail_features.match.similarity import Similarity, compute_similarity
from sail_features.match.sorted_rows import MatchRows, SortedRows


@dataclass(frozen=True)
class MatchResult:
    """What is answered, in the order of the rows asked.

    Parameters
    ----------
    values : shape (rows, columns), NaN where missing; a row whose target has no
        vector is all NaN.
    feature_time_us : shape (rows,), time of the newest event seen, `NEVER_US`
        where none was.
    available_at_us : shape (rows,), the latest availability among the row's
        moment and the vectors it used.
    """

    values: Floats
    feature_time_us: Integers
    available_at_us: Integers


def compute_match(
    rows: MatchRows,
    log: MatchLog,
    table: EmbeddingTable,
    features: Sequence[MatchFeature],
    window: HistoryWindow,
    *,
    category: Integers | None = None,
    interests: InterestSnapshots | None = None,
    similarity: Similarity = compute_similarity,
    threads: int = 1,
) -> MatchResult:
    """Compute match features for each row from the events strictly before it.

    Parameters
    ----------
    rows : what to compute.
    log : the events, from `sail_features.match.events.sort_history`.
    table : vectors; both ``rows.item`` and ``log.item`` point into it.
    features : from `sail_features.match.family.build_features`.
    window : how far back to look.
    category : shape (items,), code of each item's category beside the vectors, -1
        where it has none; None where categories aren't known.
    interests : mined before; their users have the codes of ``rows``.
    similarity : what computes cosines.
    threads : how many blocks are worked on at a time.

    Notes
    -----
    Cost: 2 x dim operations a (row, event) pair, and as much again at 64 dimensions
    for all features. Memory beyond the answer: a dozen numbers a row and an event, and
    one block a thread.
    """
    shape = len(rows.user), len(columns_of(features))
    result = MatchResult(
        np.empty(shape, np.float32), np.full(shape[0], NEVER_US), rows.as_of_us.copy()
    )
    if not len(table) or not len(rows.user):
        result.values[:] = np.nan
        return result
    if category is None:
        category = np.full(len(table), -1, np.int64)
    ordered = SortedRows.of(rows, log, window, category)
    views, types = [view_of(feature) for feature in features], event_types_of(features)
    seen = None if interests is None else SeenInterests.of(interests, ordered.rows)

    def fill(stretch: slice) -> None:
        compared = ordered.compare(stretch, table, similarity)
        cells = (
            no_interests(len(compared.start))
            if seen is None
            else seen.compare(stretch, table, similarity)
        )
        blocks = _select_views(views, types, compared, ordered.events, cells)
        computed = [f.compute(blocks[view]) for f, view in zip(features, views, strict=True)]
        values = np.concatenate(computed, axis=1)
        values[ordered.rows.item[stretch] < 0] = np.nan
        result.values[ordered.order[stretch]] = values

    if threads == 1:  # a thread costs a request more than its cosines
        for stretch in ordered.blocks():
            fill(stretch)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, ordered.blocks()):
                pass
    result.feature_time_us[ordered.order] = ordered.feature_time_us()
    result.available_at_us[ordered.order] = ordered.available_at_us(table)
    return result


def _select_views(
    views: Sequence[HistoryView],
    types: Sequence[str],
    rows: ComparedRows,
    events: PastEvents,
    interests: InterestCells,
) -> dict[HistoryView, HistoryBlock]:
    """Return the block of each distinct view."""
    return {
        view: select_view(
            rows,
            events,
            interests,
            window_us=None if view.window_days is None else view.window_days * US_PER_DAY,
            kind=ANY_TYPE if view.event_type is None else types.index(view.event_type),
        )
        for view in set(views)
    }
