"""Sample negatives for logs that don't say what was shown.

For a positive at time t, half of its negatives are drawn by popularity and half
uniformly, both from the live catalogue: items with an event in the 30 days before
t, known before t. Items that the user met at or before t are never drawn. Items
that she meets later may be: leaving them out would tell the ranker the future.

Bias, to be printed beside every figure: a sampled negative was perhaps never
seen, so AUC against it is not that of a click model, and lifts of content are
larger than on logged impressions. Uniform negatives make popularity look strong,
popularity-weighted ones make it look weak; the mix is neither. A positive may be
an item's first event, a negative never is: ranking new items first gains a little.
Some negatives are items the user would like, or does later.

References: uniform and popularity sampling change which ranker wins: W. Krichene,
S. Rendle, On Sampled Metrics for Item Recommendation, KDD 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.impressions import mark_logged
from sail_features.datasets.live_catalogue import Bools, FirstTouches, Ints, LiveCatalogue
from sail_features.datasets.policies import settle_item_times
from sail_features.errors import ConfigError
from sail_features.schemas import IMPRESSIONS, TIMESTAMP, conform

NEGATIVE_NOT_FOUND: Final = "negative_not_found"
"""A negative that was asked for, but no fitting item was live (or found by chance)."""
SAMPLED_NOTE: Final = (
    "Negatives are sampled, half by popularity and half uniformly, from items with an event "
    "in the 30 days before; nobody logged what was shown, so AUC here is not that of clicks."
)

_ROUNDS: Final = 40
"""Draws before a negative is given up; chosen here: where a fifth of the draws fit,
one in eight thousand is missed."""

_COLUMNS: Final = (c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP)


def add_sampled_negatives(
    positives: pa.Table, events: pa.Table, items: pa.Table, *, per_positive: int, seed: int
) -> tuple[pa.Table, dict[str, int]]:
    """Return positives and their negatives as impressions, and how many weren't found."""
    negatives = sample_negatives(positives, events, items, per_positive=per_positive, seed=seed)
    missed = per_positive * positives.num_rows - negatives.num_rows
    kept = positives.select([*_COLUMNS, c.LABEL])
    both = [conform(table, IMPRESSIONS) for table in (mark_logged(kept), negatives)]
    return pa.concat_tables(both), {NEGATIVE_NOT_FOUND: missed}


def sample_negatives(
    positives: pa.Table, events: pa.Table, items: pa.Table, *, per_positive: int, seed: int
) -> pa.Table:
    """Draw items that the user might have been shown in place of each positive.

    Parameters
    ----------
    positives : impressions of label 1: request, user, item and time.
    events : what all users did; neither null times nor items that ``items`` lacks.
    items : the catalogue; an item may be drawn strictly after its ``event_timestamp``.
    per_positive : negatives for each positive; of an odd number, one more by
        popularity.
    seed : the same tables and seed give the same negatives.

    Returns
    -------
    pyarrow.Table
        Impressions of label 0 with their positive's request, user and time, and
        ``negative_source`` ``popularity`` or ``uniform``, in the positives' order.
        No item twice in a request. Fewer than asked for where too few are live.

    Raises
    ------
    ConfigError
        ``per_positive`` is below 1.

    Notes
    -----
    Popularity is the number of events of any type in the 30 days strictly before.
    Cost: O((positives + events) log events); 100k positives take 2 to 3 seconds.
    """
    if per_positive < 1:
        raise ConfigError.say(
            "negatives", f"{per_positive} for each positive", hint="ask for 1 or more"
        )
    items, _ = settle_item_times(items, events, positives)
    log = _EncodedLog.build(positives, events, items)
    slots = np.arange(per_positive * positives.num_rows)
    by_popularity = slots % per_positive % 2 == 0
    drawn = _draw(log, slots // per_positive, by_popularity, np.random.default_rng(seed))
    found = drawn >= 0
    rows = pa.array(slots[found] // per_positive)
    return pa.table(
        {
            **{name: positives[name].take(rows) for name in _COLUMNS},
            c.ITEM_ID: items[c.ITEM_ID].take(pa.array(drawn[found])),
            c.LABEL: pa.repeat(pa.scalar(0, pa.int32()), len(rows)),
            c.NEGATIVE_SOURCE: np.where(by_popularity[found], "popularity", "uniform"),
        }
    )


@dataclass(frozen=True)
class _EncodedLog:
    """Positives as whole numbers, and what decides whether an item fits one."""

    requests: Ints
    users: Ints
    times: Ints
    live: LiveCatalogue
    touches: FirstTouches

    @classmethod
    def build(cls, positives: pa.Table, events: pa.Table, items: pa.Table) -> _EncodedLog:
        known = pa.concat_tables(
            [
                table.select([c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP])
                for table in (events, positives)
            ]
        )
        users = pc.unique(known[c.USER_ID])
        touches = FirstTouches(
            _codes(known[c.USER_ID], users),
            _codes(known[c.ITEM_ID], items[c.ITEM_ID]),
            _microseconds(known[c.EVENT_TIMESTAMP]),
            item_count=items.num_rows,
        )
        live = LiveCatalogue(
            _codes(events[c.ITEM_ID], items[c.ITEM_ID]),
            _microseconds(events[c.EVENT_TIMESTAMP]),
            known_from=_microseconds(items[c.EVENT_TIMESTAMP]),
        )
        requests = positives[c.REQUEST_ID]
        return cls(
            _codes(requests, pc.unique(requests)),
            _codes(positives[c.USER_ID], users),
            _microseconds(positives[c.EVENT_TIMESTAMP]),
            live,
            touches,
        )


def _codes(column: pa.ChunkedArray, values: pa.ChunkedArray) -> Ints:
    codes: Ints = pc.index_in(column, value_set=values).to_numpy().astype(np.int64)
    return codes


def _microseconds(column: pa.ChunkedArray) -> Ints:
    times: Ints = column.cast(TIMESTAMP).cast(pa.int64()).to_numpy()
    return times


def _draw(log: _EncodedLog, rows: Ints, by_popularity: Bools, rng: np.random.Generator) -> Ints:
    """Return an item for each slot, -1 where none was found.

    Draws for all open slots at once, keeps the draws that fit, and draws the rest
    again.
    """
    drawn = np.full(len(rows), -1, np.int64)
    for attempt in range(_ROUNDS):
        open_slots = np.flatnonzero(drawn < 0)
        if not open_slots.size:
            break
        row = rows[open_slots]
        times = log.times[row]
        candidates = np.where(
            by_popularity[open_slots],
            log.live.draw_by_popularity(times, rng),
            log.live.draw_uniformly(times, rng, attempt),
        )
        fits = log.live.contains(candidates, times)
        fits &= ~log.touches.touched(log.users[row], candidates, times)
        drawn[open_slots[fits]] = candidates[fits]
        drawn[_repeats_in_request(log.requests[rows], drawn, log.live.item_count)] = -1
    return drawn


def _repeats_in_request(requests: Ints, drawn: Ints, item_count: int) -> Ints:
    """Return the slots that hold an item which an earlier slot of the request holds."""
    filled = np.flatnonzero(drawn >= 0)
    _, first = np.unique(requests[filled] * item_count + drawn[filled], return_index=True)
    return np.delete(filled, first)
