"""The baseline columns of a row: of its user, of its item, of both together.

User and item parts are computed apart, since a Spark job meets users and items in
different buckets. Every figure is of events strictly before the row's moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sail_features.baseline.running_counts import (
    Floats,
    RunningCounts,
    compute_mean_before,
    compute_running_counts,
)
from sail_features.config import BaselineConfig
from sail_features.history import NEVER_US, US_PER_DAY, sort_events
from sail_features.manifest import sha256_of

Ints = NDArray[np.int64]
VERSION: Final = 1

USER_COLUMNS: Final = (
    "user_events",
    "user_recent_events",
    "user_liked_events",
    "user_positive_rate",
    "user_days_since_event",
    "user_item_events",
    "user_item_days_since_event",
    "user_category_events",
    "user_category_liked_events",
    "user_category_share",
    "user_category_positive_rate",
    "price",
    "price_gap",
)
ITEM_COLUMNS: Final = (
    "item_events",
    "item_recent_events",
    "item_liked_events",
    "item_positive_rate",
    "item_days_since_event",
    "item_age_days",
)


@dataclass(frozen=True)
class Events:
    """Feedback events; every array has shape (events,).

    ``category`` is a code, -1 where unknown; ``price`` NaN where unknown.
    """

    user: Ints
    item: Ints
    category: Ints
    time_us: Ints
    weight: Floats
    price: Floats


@dataclass(frozen=True)
class Rows:
    """What is asked; every array has shape (rows,). Codes are those of `Events`.

    ``item_time_us`` is when the item's content became known, `NEVER_US` where that
    isn't known.
    """

    user: Ints
    item: Ints
    category: Ints
    as_of_us: Ints
    price: Floats
    item_time_us: Ints


@dataclass(frozen=True)
class BaselineResult:
    """Columns by name, and the newest event that entered each row (int64 min: none)."""

    columns: Mapping[str, Floats]
    newest_us: Ints


def compute_user_part(rows: Rows, events: Events, config: BaselineConfig) -> BaselineResult:
    """Compute `USER_COLUMNS` from events of the rows' users.

    Notes
    -----
    ``user_category_*`` are of the user's events in the target's category, null
    where that is unknown; ``user_category_share`` is their share of the user's
    events, null for a user without events. ``price_gap`` is log(1 + price) less
    its mean over the user's earlier events.
    """
    user = _count(events.user, rows.user, rows, events, config)
    pair = _count(*_pairs(events.user, events.item, rows.user, rows.item), rows, events, config)
    both = _pairs(events.user, events.category, rows.user, rows.category)
    category = _count(*both, rows, events, config)
    known = rows.category >= 0
    share = np.full(len(rows.user), np.nan, np.float32)
    np.divide(category.events, user.events, out=share, where=user.events > 0)
    return BaselineResult(
        {
            "user_events": user.events,
            "user_recent_events": user.recent,
            "user_liked_events": user.liked,
            "user_positive_rate": user.positive_rate,
            "user_days_since_event": user.days_since,
            "user_item_events": pair.events,
            "user_item_days_since_event": pair.days_since,
            "user_category_events": _where(known, category.events),
            "user_category_liked_events": _where(known, category.liked),
            "user_category_share": _where(known, share),
            "user_category_positive_rate": _where(known, category.positive_rate),
            "price": rows.price,
            "price_gap": _price_gap(rows, events),
        },
        user.newest_us,
    )


def compute_item_part(rows: Rows, events: Events, config: BaselineConfig) -> BaselineResult:
    """Compute `ITEM_COLUMNS` from events of the rows' items, by all users."""
    item = _count(events.item, rows.item, rows, events, config)
    return BaselineResult(
        {
            "item_events": item.events,
            "item_recent_events": item.recent,
            "item_liked_events": item.liked,
            "item_positive_rate": item.positive_rate,
            "item_days_since_event": item.days_since,
            "item_age_days": _age_days(rows),
        },
        item.newest_us,
    )


def _age_days(rows: Rows) -> Floats:
    known = rows.item_time_us != NEVER_US
    since_us = np.where(known, rows.as_of_us - rows.item_time_us, 0)
    return _where(known, (since_us / US_PER_DAY).astype(np.float32))


def baseline_id(config: BaselineConfig) -> str:
    """Return a short id that changes with any definition or parameter."""
    return f"baseline-{sha256_of([VERSION, config.model_dump(mode='json')])[:12]}"


def _count(
    event_owner: Ints, row_owner: Ints, rows: Rows, events: Events, config: BaselineConfig
) -> RunningCounts:
    log = sort_events(event_owner, events.time_us, events.item, events.weight)
    return compute_running_counts(
        log,
        row_owner,
        rows.as_of_us,
        recent_us=int(config.recent_days * US_PER_DAY),
        smoothing=config.smoothing,
    )


def _price_gap(rows: Rows, events: Events) -> Floats:
    log = sort_events(events.user, events.time_us, events.item, events.price)
    mean = compute_mean_before(log, np.log1p(log.weight), rows.user, rows.as_of_us)
    return np.log1p(rows.price) - mean


def _pairs(left: Ints, right: Ints, row_left: Ints, row_right: Ints) -> tuple[Ints, Ints]:
    """Give each pair of codes one code of its own, in events and rows alike."""
    width = max(right.max(initial=-1), row_right.max(initial=-1)) + 2
    return left * width + right + 1, row_left * width + row_right + 1


def _where(known: NDArray[np.bool_], values: Floats) -> Floats:
    return np.where(known, values, np.float32(np.nan))
