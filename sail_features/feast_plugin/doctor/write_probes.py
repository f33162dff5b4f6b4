"""Probes of what is written: by materialising twice, and by two who apply at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from feast import Entity
from feast.value_type import ValueType

from sail_features.feast_plugin.doctor.workspace import ITEM, ProbeStore, at, stamped

WRITERS: Final = 2
APPLIES: Final = 8


def materialised_twice(store: ProbeStore) -> str | None:
    """Idempotence: a window that is materialised again leaves the same rows."""
    store.declare("stock", [ITEM], [stamped(1, item_id="1", left=4)])
    seen = []
    for _ in range(2):
        store.feast.materialize(at(0), at(2), feature_views=["stock"])
        online = store.feast.get_online_features(["stock:left"], [{"item_id": "1"}]).to_dict()
        asked = {"item_id": "1", "event_timestamp": at(3)}
        offline: list[Any] = store.join([asked], "stock:left")["left"].tolist()
        seen.append((online["left"], offline))
    if seen != [([4], [4])] * 2:
        return f"online and offline {seen[0]}, then {seen[1]}; expected ([4], [4]) twice"
    return None


def applied_at_once(store: ProbeStore) -> str | None:
    """Registry: what several processes apply at the same time is all kept."""

    def apply(writer: int) -> None:
        mine = store.open()
        for number in range(APPLIES):
            name = f"writer_{writer}_{number}"
            mine.apply([Entity(name=name, join_keys=[name], value_type=ValueType.STRING)])

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(apply, range(WRITERS)))
    kept = {entity.name for entity in store.open().list_entities()}
    lost = WRITERS * APPLIES - sum(name.startswith("writer_") for name in kept)
    return f"{lost} of {WRITERS * APPLIES} objects were lost without an error" if lost else None
