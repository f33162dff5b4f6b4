"""Small hand-made tables, and a real feature store on them, for the Feast tests."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from feast import FeatureStore

from sail_features import columns as c
from sail_features import feast_plugin as plugin
from sail_features.schemas import TABLES, TIMESTAMP, conform
from sail_features.tables import TableStore

FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"
ENCODER = "hash-v1"


def at(hour: float, microseconds: int = 0) -> datetime:
    """Return a time of the one day that everything in these tests happens on."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=hour, microseconds=microseconds)


def write(
    tables: TableStore,
    name: str,
    columns: Mapping[str, Any],
    *,
    as_of: datetime | None = None,
    since: datetime | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> None:
    """Write one partition; stamps that aren't given follow from ``event_timestamp``."""
    stamps = {c.AVAILABLE_AT: columns[c.EVENT_TIMESTAMP], c.CREATED: columns[c.EVENT_TIMESTAMP]}
    table = pa.table({**stamps, **columns})
    for column in (c.EVENT_TIMESTAMP, c.AVAILABLE_AT, c.CREATED, c.FEATURE_TIME):
        if column in table.column_names:
            place = table.column_names.index(column)
            table = table.set_column(place, column, table[column].cast(TIMESTAMP))
    with tables.replace_partition(name, as_of or at(24), since=since, config={}) as partition:
        partition.lineage.update(lineage or {})
        partition.write(conform(table, TABLES[name]))


def pairs(
    users: Sequence[Any],
    items: Sequence[Any],
    times: Sequence[datetime],
    **features: Sequence[Any],
) -> dict[str, Any]:
    """Return the columns of a pair table; its newest event lies a minute before each row."""
    return {
        c.USER_ID: users,
        c.ITEM_ID: items,
        c.EVENT_TIMESTAMP: times,
        c.FEATURE_TIME: [time - timedelta(minutes=1) for time in times],
        c.FEATURE_SET_ID: ["set-1"] * len(users),
        c.ENCODER_ID: [ENCODER] * len(users),
        **{
            name: pa.array(values, pa.float32()) if isinstance(values[0], float) else values
            for name, values in features.items()
        },
    }


def vector_bytes(*values: float) -> bytes:
    """Return a vector as the tables hold it: little-endian float16."""
    return np.asarray(values, "<f2").tobytes()


def write_world(tables: TableStore, ids: type = str, *, placebo: bool = True) -> None:
    """Write every table that the feature repository declares, with ids of one type."""
    one, eleven = ids("1"), ids("11")
    write(
        tables,
        "item_embedding",
        {
            c.ITEM_ID: [one, eleven],
            c.EVENT_TIMESTAMP: [at(1), at(2)],
            c.EMBEDDING: [vector_bytes(1, 0), vector_bytes(0.6, 0.8)],
            c.DIM: [2, 2],
            c.ENCODER_ID: [ENCODER] * 2,
            c.CONTENT_HASH: ["a", "b"],
        },
        lineage={c.ENCODER_ID: ENCODER, c.DIM: 2, "dtype": "float16"},
    )
    write(
        tables,
        "user_history",
        {
            c.USER_ID: [one, eleven],
            c.EVENT_TIMESTAMP: [at(3), at(3)],
            c.HISTORY_ITEM_IDS: pa.array([[eleven, one], []], pa.list_(pa.array([one]).type)),
            c.HISTORY_TIMES: pa.array([[1, 2], []], pa.list_(pa.int64())),
            c.HISTORY_WEIGHTS: pa.array([[1.0, -0.5], []], pa.list_(pa.float32())),
        },
        lineage={"window": "365 days, 100 events"},
    )
    for name in ("user_item_baseline", "user_item_match", "user_item_match_placebo")[: 2 + placebo]:
        write_pairs(tables, name, ids)


def write_pairs(tables: TableStore, name: str, ids: type = str) -> None:
    """Write two pairs whose joined ids are the same text, and one pair shown twice."""
    one, eleven = ids("1"), ids("11")
    own = {"clicks": [1.0, 2.0, 3.0], c.CATEGORY: ["tea", "tea", "mug"]}
    columns = pairs(
        [one, eleven, one],
        [eleven, one, eleven],
        [at(5), at(5), at(6)],
        **(own if name == "user_item_baseline" else {"similarity": [0.1, 0.2, 0.3]}),
    )
    if name == "user_item_baseline":
        del columns[c.ENCODER_ID]
    write(tables, name, columns, lineage={c.FEATURE_SET_ID: "set-1", "edges": [0.1, 0.9]})


def declare(tables: TableStore) -> list[Any]:
    """Return what `feature_repo/` declares."""
    user, item = plugin.user_entity(tables), plugin.item_entity(tables)
    embedding = plugin.item_embedding_view(tables, item)
    history = plugin.user_history_view(tables, user)
    baseline = plugin.baseline_view(tables, user, item)
    match = plugin.match_view(tables, user, item)
    service = plugin.ranker_service("ranker_treatment", [baseline, match], description="Both.")
    return [user, item, embedding, history, baseline, match, service]


def copy_repo(folder: Path) -> Path:
    """Copy the feature repository below ``folder``, with a ``sail.yaml`` above it."""
    (folder / "sail.yaml").write_text("workspace: build\n", encoding="utf-8")
    repo = folder / "feature_repo"
    shutil.copytree(FEATURE_REPO, repo, ignore=shutil.ignore_patterns("*.db", "__pycache__"))
    return repo


def configure(repo: Path, section: str, setting: object) -> None:
    """Replace one section of a repository's ``feature_store.yaml``."""
    path = repo / "feature_store.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(config | {section: setting}), encoding="utf-8")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def build_store(
    folder: Path, ids: type = str, *, online_store: Mapping[str, Any] | None = None
) -> FeatureStore:
    """Return an applied feature store over `write_world`."""
    tables = TableStore(folder / "build" / "tables")
    write_world(tables, ids)
    repo = copy_repo(folder)
    if online_store is not None:
        configure(repo, "online_store", dict(online_store))
    store = plugin.open_feature_store(repo)
    store.apply(declare(tables))
    return store


def join(store: FeatureStore, rows: Sequence[tuple[Any, Any, datetime]]) -> pd.DataFrame:
    """Join the treatment's features to (user, item, time) rows, in the rows' order."""
    entities = pd.DataFrame(rows, columns=[c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP])
    joined = store.get_historical_features(
        entities.assign(row=range(len(rows))),
        store.get_feature_service("ranker_treatment"),
        full_feature_names=True,
        filter_by_created_timestamp=True,
    ).to_df()
    return joined.sort_values("row", ignore_index=True)
