"""Probes of historical joins: which rows come back, and with which values.

Letters A to H are those of the table in decision 0012. Each returns what is wrong,
or None.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pandas as pd

from sail_features.feast_plugin.doctor.workspace import ITEM, USER, ProbeStore, at, stamped

MANY: Final = 5_000


def asked(user: str, item: str, hour: float, **more: Any) -> dict[str, Any]:
    """Return one entity row."""
    return {"user_id": user, "item_id": item, "event_timestamp": at(hour), **more}


def one_user_three_items(store: ProbeStore) -> str | None:
    """Probe A: three items shown to one user at one time are three rows."""
    store.declare("users", [USER], [stamped(1, user_id="1", age=30)])
    joined = store.join([asked("1", item, 2) for item in ("1", "2", "3")], "users:age")
    return _differs("rows", len(joined), 3)


def pairs_of_one_text(store: ProbeStore) -> str | None:
    """Probe B: user 1 with item 11 isn't user 11 with item 1."""
    rows = [stamped(1, user_id="1", item_id="11", match=1.0)]
    rows += [stamped(1, user_id="11", item_id="1", match=2.0)]
    store.declare("pairs", [USER, ITEM], rows)
    joined = store.join([asked("1", "11", 2), asked("11", "1", 2)], "pairs:match")
    found = sorted(zip(joined["user_id"], joined["match"], strict=True))
    return _differs("values", found, [("1", 1.0), ("11", 2.0)])


def repeated_keys(store: ProbeStore) -> str | None:
    """Probe C: the same keys with two labels are two rows."""
    _declare_prices(store)
    joined = store.join([asked("1", "1", 2, label=n) for n in (0, 1)], "prices:price")
    return _differs("labels", sorted(joined["label"]), [0, 1])


def created_later(store: ProbeStore) -> str | None:
    """Probe D: a row that was created after the entity row's time isn't seen."""
    return _differs("values", _encoded_again(store), [1])


def created_later_when_asked_to_cut(store: ProbeStore) -> str | None:
    """Probe E: the same with ``filter_by_created_timestamp=True``."""
    return _differs("values", _encoded_again(store, filter_by_created_timestamp=True), [1])


def too_old(store: ProbeStore) -> str | None:
    """Probe F: a row older than its TTL gives null, and the entity row stays."""
    return _differs("values", _offers(store, [5]), [None])


def row_order(store: ProbeStore) -> str | None:
    """Probe G: entity rows come back in their order."""
    _declare_prices(store)
    rows = [asked("1", str(n * 7919 % 3), 1 + n * 4801 % 97 / 100, row=n) for n in range(MANY)]
    found = store.join(rows, "prices:price")["row"].tolist()
    moved = sum(place != row for place, row in enumerate(found))
    return f"{moved} of {MANY} rows are elsewhere" if moved else _differs("rows", len(found), MANY)


def unknown_entity(store: ProbeStore) -> str | None:
    """Probe H: an entity that nobody knows gives null."""
    _declare_prices(store)
    found = store.join([asked("1", "none", 2)], "prices:price")["price"].tolist()
    return _differs("values", _nulls(found), [None])


def end_of_ttl(store: ProbeStore) -> str | None:
    """TTL. A row is seen up to and including its last moment, and not after it."""
    moment = 1 / 3_600_000
    return _differs("values", _offers(store, [2 - moment, 2, 2 + moment]), [7, 7, None])


def _declare_prices(store: ProbeStore) -> None:
    store.declare("prices", [ITEM], [stamped(0, item_id=str(n), price=n) for n in range(3)])


def _encoded_again(store: ProbeStore, **options: Any) -> list[Any]:
    """Return what is seen at 5:00 of content of 1:00, encoded then and again at 9:00."""
    rows = [stamped(1, item_id="1", version=1), stamped(1, 9, item_id="1", version=2)]
    store.declare("versions", [ITEM], rows)
    return _nulls(store.join([asked("1", "1", 5)], "versions:version", **options)["version"])


def _offers(store: ProbeStore, hours: list[float]) -> list[Any]:
    """Return what is seen at these hours of a row that holds from 1:00 to 2:00."""
    rows = [stamped(1, item_id="1", offer=7)]
    store.declare("offers", [ITEM], rows, ttl=timedelta(hours=1))
    joined = store.join([asked("1", "1", hour) for hour in hours], "offers:offer")
    return _nulls(joined.sort_values("event_timestamp")["offer"])


def _nulls(values: Any) -> list[Any]:
    return [None if pd.isna(value) else value for value in values]


def _differs(what: str, found: object, expected: object) -> str | None:
    return None if found == expected else f"{what} {found}, expected {expected}"
