"""The events that match features look back on, sorted once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sail_features.history import EventLog
from sail_features.match.block import Floats, Integers, MatchFeature, view_of


@dataclass(frozen=True)
class MatchLog(EventLog):
    """Events sorted by user and time, with the type of each.

    Parameters
    ----------
    kind : shape (events,), the place of the event's type in `event_types_of`, any other
        number for a type that no feature asks for.

    Build one with `sort_history`; this constructor trusts its input.
    """

    kind: Integers


def sort_history(
    user: Integers,
    item: Integers,
    time_us: Integers,
    weight: Floats,
    vector_row: Integers,
    kind: Integers | None = None,
) -> MatchLog:
    """Sort events by user, time, item and weight, so that their order is fixed.

    Parameters
    ----------
    item : shape (events,), codes in the order of the ids, which orders ties in time.
    vector_row : shape (items,), the row of each code's vector, -1 where it has none.
    kind : see `MatchLog`; None where no feature asks for a type.

    Notes
    -----
    An event without a vector keeps its place among the newest, so that a history is
    the same events here and in ``user_history``; `compute_match` then leaves it out.
    """
    kind = np.full(len(user), -1, np.int64) if kind is None else kind
    order = np.lexsort((kind, weight, item, time_us, user))
    return MatchLog(
        user[order], time_us[order], vector_row[item[order]], weight[order], kind[order]
    )


def event_types_of(features: Iterable[MatchFeature]) -> tuple[str, ...]:
    """Return the event types that features ask for, in order."""
    types = {view_of(feature).event_type for feature in features}
    return tuple(sorted(kind for kind in types if kind is not None))
