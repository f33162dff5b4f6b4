"""One point-in-time join for all arms, through a real Feast store on DuckDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

feast = pytest.importorskip("feast")

from feast.types import Bool, Bytes, Float32, Int64, String, UnixTimestamp  # noqa: E402

from ranking_eval.retrieval import retrieve  # noqa: E402
from sail_features.errors import EvaluationError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),  # ibis, its own call
]

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)
TIME = pa.timestamp("us", "UTC")
SERVICES = {"control": "ranker_control", "treatment": "ranker_treatment"}


def times(*values):
    return pa.array(values, TIME)


def write(folder, name, columns):
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(columns), path)
    return feast.FileSource(
        name=name,
        path=str(path),
        timestamp_field="event_timestamp",
        created_timestamp_column="available_at",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """User a and item x at noon and at one; user b and item y known a day late."""
    folder = tmp_path_factory.mktemp("feast")
    keys = {
        "user_id": ["a", "a", "b"],
        "item_id": ["x", "x", "y"],
        "event_timestamp": times(NOON, NOON + HOUR, NOON),
        "available_at": times(NOON, NOON + HOUR, NOON + 24 * HOUR),
    }
    baseline = write(folder, "baseline", {**keys, "clicks": [1, 2, 3], "is_new": [True] * 3})
    lineage = {
        "feature_time": times(NOON - HOUR, None, NOON),
        "first_available_at": keys["available_at"],
        "encoder_id": ["e"] * 3,
        "packed": [b"1", b"2", b"3"],
    }
    match = write(
        folder,
        "match",
        {
            **keys,
            **lineage,
            "max_similarity": pa.array([0.25, 0.5, 0.75], pa.float32()),
            "kind": ["p", "q", "r"],
        },
    )
    user = feast.Entity(name="user", join_keys=["user_id"], value_type=feast.ValueType.STRING)
    item = feast.Entity(name="item", join_keys=["item_id"], value_type=feast.ValueType.STRING)

    def view(name, source, **fields):
        schema = [feast.Field(name=field, dtype=kind) for field, kind in fields.items()]
        keyed = [feast.Field(name=key, dtype=String) for key in ("user_id", "item_id")]
        return feast.FeatureView(
            name=name, entities=[user, item], schema=keyed + schema, source=source, ttl=timedelta(0)
        )

    baseline_view = view("user_item_baseline", baseline, clicks=Int64, is_new=Bool)
    match_view = view(
        "user_item_match",
        match,
        feature_time=UnixTimestamp,
        first_available_at=UnixTimestamp,
        encoder_id=String,
        packed=Bytes,
        max_similarity=Float32,
        kind=String,
    )
    opened = feast.FeatureStore(
        config=feast.RepoConfig(
            project="test",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    opened.apply(
        [
            user,
            item,
            baseline_view,
            match_view,
            feast.FeatureService(name="ranker_control", features=[baseline_view]),
            feast.FeatureService(name="ranker_treatment", features=[baseline_view, match_view]),
        ]
    )
    return opened


def impressions(*rows):
    users, items, shown_at = zip(*rows, strict=True)
    count = len(rows)
    return pa.table(
        {
            "request_id": [f"r{row}" for row in range(count)],
            "user_id": list(users),
            "item_id": list(items),
            "event_timestamp": times(*shown_at),
            "label": [row % 2 for row in range(count)],
        }
    )


def test_an_impression_sees_rows_of_strictly_before_it(store):
    asked = impressions(("a", "x", NOON + HOUR), ("a", "x", NOON + HOUR + MOMENT), ("a", "x", NOON))
    joined, _ = retrieve(store, asked, SERVICES, lag=MOMENT)
    assert joined["user_item_match__max_similarity"].to_pylist() == [0.25, 0.5, None]
    assert joined["user_item_baseline__clicks"].to_pylist() == [1, 2, None]


def test_a_longer_lag_looks_further_back(store):
    asked = impressions(("a", "x", NOON + 2 * HOUR), ("a", "x", NOON + HOUR))
    joined, _ = retrieve(store, asked, SERVICES, lag=2 * HOUR)
    assert joined["user_item_baseline__clicks"].to_pylist() == [1, None]


def test_a_row_that_became_known_later_is_not_seen(store):
    asked = impressions(("b", "y", NOON + HOUR), ("b", "y", NOON + 25 * HOUR))
    joined, _ = retrieve(store, asked, SERVICES, lag=MOMENT)
    assert joined["user_item_match__max_similarity"].to_pylist() == [None, 0.75]


def test_impressions_keep_their_order_columns_and_own_time(store):
    asked = impressions(
        ("b", "y", NOON + 30 * HOUR),
        ("a", "x", NOON + HOUR),
        ("z", "x", NOON),
        ("a", "x", NOON + HOUR),  # the same user, item and moment in another request
    )
    joined, _ = retrieve(store, asked, SERVICES, lag=MOMENT)
    assert joined.select(asked.column_names).equals(asked)
    assert joined["user_item_baseline__clicks"].to_pylist() == [3, 1, None, 1]


def test_arms_see_scalars_and_neither_lineage_nor_bytes(store):
    joined, arms = retrieve(store, impressions(("a", "x", NOON + HOUR)), SERVICES, lag=MOMENT)
    control, treatment = arms
    assert (control.name, control.service) == ("control", "ranker_control")
    assert control.columns == ("user_item_baseline__clicks", "user_item_baseline__is_new")
    assert treatment.columns == (
        *control.columns,
        "user_item_match__max_similarity",
        "user_item_match__kind",
    )
    for kept in ("feature_time", "first_available_at", "encoder_id", "packed"):
        assert f"user_item_match__{kept}" in joined.column_names


def test_a_join_that_loses_rows_is_an_error(store, monkeypatch):
    asked = impressions(("a", "x", NOON + HOUR), ("b", "y", NOON + HOUR))
    honest = store.get_historical_features

    class Lossy:
        def __init__(self, **options):
            self.job = honest(**options)

        def to_arrow(self):
            return self.job.to_arrow().slice(0, 1)

    monkeypatch.setattr(store, "get_historical_features", Lossy)
    with pytest.raises(EvaluationError, match="2 impressions went in and 1 rows came out"):
        retrieve(store, asked, SERVICES, lag=MOMENT)
