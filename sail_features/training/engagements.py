"""What users did, as far as training may see it: the one place where a log is cut in time.

All that learns from behaviour (pairs, sequences, collaborative IDs) starts from an
`Engagements`, and that holds nothing at or after its ``trained_until``. So whatever
happened later can't change a weight, not even through the order of users.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.embeddings import rows_among
from sail_features.errors import InputError
from sail_features.history import codes_of, ids_of, us_of
from sail_features.schemas import EVENTS, TIMESTAMP, check_table

Ints = NDArray[np.int64]

MAX_KINDS: Final = 62
"""Types of events: the sets of them that are compared are bits of one integer."""


@dataclass(frozen=True)
class Engagements:
    """Positive events strictly before ``trained_until``, sorted by user, time and item.

    Parameters
    ----------
    item_ids : shape (items,), the catalogue, strictly ascending.
    user : shape (events,), codes of users from 0, without gaps.
    item : shape (events,), rows of ``item_ids``.
    time_us : shape (events,), microseconds since 1970 UTC.
    kind : shape (events,), codes of event types, from 0 in the types' order.
    trained_until : exclusive end, with a time zone.

    Build one with `select_engagements`; this constructor trusts its input.
    """

    item_ids: NDArray[Any]
    user: Ints
    item: Ints
    time_us: Ints
    kind: Ints
    trained_until: datetime

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.user)

    @property
    def users(self) -> int:
        """The number of users with an event."""
        return int(self.user[-1]) + 1 if len(self.user) else 0

    @property
    def items(self) -> int:
        """The size of the catalogue, items that nobody engaged with among them."""
        return len(self.item_ids)

    @cached_property
    def offsets(self) -> Ints:
        """Where each user's events begin; shape (users + 1,)."""
        return np.searchsorted(self.user, np.arange(self.users + 1))

    @cached_property
    def support(self) -> Ints:
        """How many distinct users engaged with each item; shape (items,)."""
        pairs = np.unique(self.user * self.items + self.item)
        return np.bincount(pairs % self.items, minlength=self.items).astype(np.int64)

    @cached_property
    def digest(self) -> str:
        """A hash of everything in here, to name what was learned from it."""
        digest = hashlib.sha256(self.trained_until.isoformat().encode())
        for column in (self.item_ids, self.user, self.item, self.time_us, self.kind):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def select_engagements(
    events: pa.Table, item_ids: NDArray[Any], *, trained_until: datetime
) -> Engagements:
    """Return the positive events before ``trained_until`` on items of the catalogue.

    Parameters
    ----------
    events : keeps `sail_features.schemas.EVENTS`; a weight of 0 or below is no engagement.
    item_ids : strictly ascending; events on other items, such as those without content,
        are left out.
    trained_until : exclusive, with a time zone.

    Raises
    ------
    InputError
        A moment without a zone, a table that isn't one of events, ids of another type,
        or no event is left.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = [datetime(2024, 1, n, tzinfo=UTC) for n in (1, 2, 3)]
    >>> log = pa.table({"user_id": ["u", "u", "u"], "item_id": ["a", "b", "b"],
    ...     "event_timestamp": day, "event_type": ["buy"] * 3, "weight": [1.0, 1.0, 1.0]})
    >>> select_engagements(log, np.array(["a", "b"]), trained_until=day[2]).item.tolist()
    [0, 1]
    """
    if trained_until.tzinfo is None:
        raise InputError.say(
            "trained_until", f"{trained_until} has no time zone", hint="write it with one, as ...Z"
        )
    check_table(events, EVENTS, where="events")
    seen = events.filter(
        pc.and_(
            pc.less(events[c.EVENT_TIMESTAMP], pa.scalar(trained_until, TIMESTAMP)),
            pc.greater(events[c.WEIGHT], 0),
        )
    )
    item = _rows_of(ids_of(seen[c.ITEM_ID]), item_ids)
    known = item >= 0
    if not known.any():
        raise InputError.say(
            "events",
            f"none of {events.num_rows} is positive, before {trained_until} and on a known item",
            hint="give a later trained_until, or ids as the items have them",
        )
    seen, item = seen.filter(pa.array(known)), item[known]
    (user,) = codes_of(ids_of(seen[c.USER_ID]))
    (kind,) = codes_of(ids_of(seen[c.EVENT_TYPE]))
    if kind.max() >= MAX_KINDS:
        raise InputError.say(
            "events",
            f"{kind.max() + 1} event types, expected at most {MAX_KINDS}",
            hint="put what belongs to an event's type into a column of its own",
        )
    time_us = us_of(seen[c.EVENT_TIMESTAMP])
    order = np.lexsort((kind, item, time_us, user))
    return Engagements(
        item_ids, user[order], item[order], time_us[order], kind[order], trained_until
    )


def _rows_of(ids: NDArray[Any], known: NDArray[Any]) -> Ints:
    """Return the place of each id among the known ones, -1 where it is none of them."""
    if ids.dtype.kind != known.dtype.kind:
        raise InputError.wrong_type("events", c.ITEM_ID, ids.dtype, f"{known.dtype} as in items")
    return rows_among(ids, known)
