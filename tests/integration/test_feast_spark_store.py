"""Our Spark store through Feast's own methods, against a naive join and the DuckDB store."""

from __future__ import annotations

import random
from datetime import timedelta
from inspect import getsource
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    RequestSource,
)
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
    SavedDatasetSparkStorage,
    SparkSource,
)
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import PandasTransformation
from feast.types import Float64, Int64, String
from feast.value_type import ValueType
from feast_workspace import at
from offline_world import (
    ASKED,
    BIG,
    DEGREES_THEN,
    FEATURES,
    ITEM,
    MAPPED_STAMPS,
    MATCHES_THEN,
    PRICES_THEN,
    USER,
    add_tax,
    entity_frame,
    open_store,
    stamped,
    write,
    write_views,
)
from point_in_time import Asked, Row, answer
from pyspark.sql import DataFrame, SparkSession

from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.spark_store import SailSparkOfflineStore

SPARK = "sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore"
DUCKDB = "sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore"
NUMBERED = Entity(name="shelf", join_keys=["shelf"], value_type=ValueType.INT64)
STAMPS = {"timestamp_field": "event_timestamp", "created_timestamp_column": "available_at"}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:feast")


@pytest.fixture(autouse=True)
def _session(spark: SparkSession) -> None:
    """The store takes the session that runs."""


def view(source: Any, entities: list[Entity], fields: dict[str, Any], **more: Any) -> FeatureView:
    schema = [Field(name=feature, dtype=kind) for feature, kind in fields.items()]
    return FeatureView(name=source.name, entities=entities, schema=schema, source=source, **more)


def file_source(name: str, **more: Any) -> FileSource:
    return FileSource(name=name, path=f"{name}.parquet", **STAMPS, **more)


def spark_source(name: str, **place: Any) -> SparkSource:
    return SparkSource(name=name, **STAMPS, **place)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    write_views(tmp_path)
    opened = open_store(tmp_path, SPARK)
    pairs_path = {"path": "pairs.parquet", "file_format": "parquet"}
    opened.apply(
        [
            USER,
            ITEM,
            view(file_source("prices"), [ITEM], {"price": Int64}, ttl=timedelta(hours=2)),
            view(
                spark_source("pairs", field_mapping={"score": "match"}, **pairs_path),
                [USER, ITEM],
                {"match": String},
            ),
            view(
                spark_source(
                    "weather",
                    query=f"SELECT * FROM parquet.`{tmp_path}/weather.parquet`",  # noqa: S608
                ),
                [],
                {"degrees": Float64},
            ),
        ]
    )
    return opened


def test_rows_come_once_in_their_order_with_what_was_known(store: FeatureStore) -> None:
    joined = store.get_historical_features(ASKED, FEATURES).to_arrow()
    assert joined.column_names == [*ASKED.columns, "price", "match", "degrees"]
    assert joined["label"].to_pylist() == [0, 1, 2, 3, 4]
    assert joined["price"].to_pylist() == PRICES_THEN
    assert joined["match"].to_pylist() == MATCHES_THEN
    assert joined["degrees"].to_pylist() == DEGREES_THEN


def random_row(dice: random.Random, value: int) -> Row:
    key = [None, "1", "11", "111"]
    held = dice.choice([None, *range(12)])
    created = None if held is None else dice.choice([None, held, held + dice.randrange(4)])
    return Row(dice.choice(key), dice.choice(key), held, created, value)


@pytest.mark.parametrize(("ttl", "cut"), [(None, True), (3, True), (3, False)])
def test_each_row_gets_what_a_double_loop_finds(tmp_path: Path, ttl: int | None, cut: bool) -> None:
    dice = random.Random(ttl)  # noqa: S311
    seen = {random_row(dice, value) for value in range(400)}
    one_of_each = {(row.user, row.item, row.held, row.created): row for row in seen}
    views = list(one_of_each.values())[::2], list(one_of_each.values())[1::2]
    asked = [
        Asked(dice.choice(["1", "11"]), dice.choice(["1", "11", "111"]), dice.randrange(12))
        for _ in range(300)
    ]

    def hour(value: int | None) -> Any:
        return None if value is None else at(value)

    for name, rows in zip(("odd", "even"), views, strict=True):
        table = [
            {
                "user_id": row.user,
                "item_id": row.item,
                "event_timestamp": hour(row.held),
                "available_at": hour(row.created),
                name: row.value,
            }
            for row in rows
        ]
        write(tmp_path, name, table)
    store = open_store(tmp_path, SPARK, filter_by_created_timestamp=cut)
    lives = timedelta(hours=ttl) if ttl else None
    store.apply(
        [USER, ITEM]
        + [view(file_source(n), [USER, ITEM], {n: Int64}, ttl=lives) for n in ("odd", "even")]
    )
    frame = entity_frame(*((one.user, one.item, one.at) for one in asked))
    joined = store.get_historical_features(frame, ["odd:odd", "even:even"]).to_arrow()
    assert joined["label"].to_pylist() == list(range(len(asked)))
    for name, rows in zip(("odd", "even"), views, strict=True):
        assert joined[name].to_pylist() == [answer(rows, one, ttl, cut) for one in asked]


def test_entity_rows_as_spark_frame_table_query_and_files(
    store: FeatureStore, tmp_path: Path, spark: SparkSession
) -> None:
    table = pa.Table.from_pandas(ASKED, preserve_index=False)
    pq.write_table(table, tmp_path / "nanoseconds.parquet")
    with pytest.raises(JoinInputError, match="Write its times in microseconds"):
        store.get_historical_features("nanoseconds.parquet", FEATURES)
    utc = pa.timestamp("us", "UTC")
    table = table.set_column(2, "event_timestamp", table["event_timestamp"].cast(utc))
    pq.write_table(table, tmp_path / "asked.parquet")
    (tmp_path / "many").mkdir()
    for number, rows in enumerate((table[:1], table[1:])):
        pq.write_table(rows, tmp_path / "many" / f"{number}.parquet")
    frame = spark.createDataFrame(ASKED).repartition(3).sort("label")
    for held in (frame, table, tmp_path / "asked.parquet", "many"):
        joined = store.get_historical_features(held, FEATURES).to_arrow()
        assert joined["label"].to_pylist() == [0, 1, 2, 3, 4]
        assert joined["price"].to_pylist() == PRICES_THEN
    query = f"SELECT * FROM parquet.`{tmp_path}/asked.parquet` ORDER BY label DESC"  # noqa: S608
    joined = store.get_historical_features(query, FEATURES).to_arrow()
    assert joined["label"].to_pylist() == [4, 3, 2, 1, 0]
    assert joined["match"].to_pylist() == MATCHES_THEN[::-1]


def test_result_as_spark_frame_and_as_exact_frame(store: FeatureStore) -> None:
    job = store.get_historical_features(ASKED, FEATURES)
    rows = job.to_spark_df()
    assert isinstance(rows, DataFrame)
    assert [row["match"] for row in rows.collect()] == MATCHES_THEN
    frame = job.to_df()
    assert frame["price"].tolist()[0] == BIG
    assert frame["price"].isna().tolist() == [False, True, False, True, True]


def test_order_holds_over_many_partitions(store: FeatureStore) -> None:
    many = pd.concat([ASKED.assign(label=ASKED["label"] + 5 * n) for n in range(2_000)])
    joined = store.get_historical_features(many, FEATURES).to_arrow()
    assert joined["label"].to_pylist() == list(range(10_000))
    assert joined["price"].to_pylist() == PRICES_THEN * 2_000


def test_saved_dataset_comes_back(store: FeatureStore, tmp_path: Path) -> None:
    storage = SavedDatasetFileStorage("saved")
    dataset = store.create_saved_dataset(
        store.get_historical_features(ASKED, FEATURES), "saved", storage
    )
    assert sorted(dataset.to_df()["match"].fillna("")) == ["", "first", *["second"] * 3]
    in_spark = SavedDatasetSparkStorage(path=f"file://{tmp_path}/own", file_format="parquet")
    for place in (storage, in_spark):
        store.get_historical_features(ASKED, FEATURES).persist(place, allow_overwrite=True)
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            store.get_historical_features(ASKED, FEATURES).persist(place)
    for folder in ("saved", "own"):
        assert pq.read_table(tmp_path / folder)["match"].to_pylist() == MATCHES_THEN
    assert not list(tmp_path.glob(".saved*"))


def test_staged_files_are_in_order(store: FeatureStore, tmp_path: Path) -> None:
    staging = open_store(tmp_path, SPARK, staging_location=str(tmp_path / "staged"))
    files = staging.get_historical_features(ASKED, FEATURES).to_remote_storage()
    assert pa.concat_tables(map(pq.read_table, files))["label"].to_pylist() == [0, 1, 2, 3, 4]


def test_on_demand_views_are_computed(store: FeatureStore, tmp_path: Path) -> None:
    request = RequestSource(name="tax", schema=[Field(name="rate", dtype=Float64)])
    taxes = OnDemandFeatureView(
        name="taxes",
        sources=[store.get_feature_view("prices"), request],
        schema=[Field(name="taxed", dtype=Float64)],
        feature_transformation=PandasTransformation(udf=add_tax, udf_string=getsource(add_tax)),
        mode="pandas",
    )
    store.apply([taxes])
    asked = entity_frame(("1", "1", 1.5)).assign(rate=[0.5])
    job = store.get_historical_features(asked, ["taxes:taxed"])
    assert job.to_df()["taxed"].tolist() == [15.0]
    assert job.to_spark_df().collect()[0]["taxed"] == 15.0


def test_whole_floats_find_the_integers_that_pandas_made_them_of(tmp_path: Path) -> None:
    write(tmp_path, "stock", [stamped(1, shelf=7, left=4)])
    store = open_store(tmp_path, SPARK)
    store.apply([NUMBERED, view(file_source("stock"), [NUMBERED], {"left": Int64})])
    asked = pd.DataFrame({"shelf": [7.0, None], "event_timestamp": [at(2)] * 2})
    assert store.get_historical_features(asked, ["stock:left"]).to_arrow()["left"].to_pylist() == [
        4,
        None,
    ]
    with pytest.raises(JoinInputError, match="column 'shelf' is double, but int64"):
        store.get_historical_features(asked.assign(shelf=[7.5, 1.0]), ["stock:left"])


def test_full_names_and_mapped_keys(store: FeatureStore) -> None:
    prices = store.get_feature_view("prices")
    shown = prices.with_name("shown").with_join_key_map({"item_id": "shown id"})
    service = FeatureService(name="two", features=[prices.with_name("own"), shown])
    store.apply([service])
    asked = entity_frame(("1", "11", 3)).assign(**{"shown id": ["1"], "row_number": [-1]})
    joined = store.get_historical_features(asked, service, full_feature_names=True).to_arrow()
    assert joined["own__price"].to_pylist() == [None]
    assert joined["shown__price"].to_pylist() == [BIG]
    assert joined["row_number"].to_pylist() == [-1]


def test_times_may_be_named_as_they_are_mapped(store: FeatureStore, tmp_path: Path) -> None:
    source = SparkSource(
        name="mapped", path=f"{tmp_path}/prices.parquet", file_format="parquet", **MAPPED_STAMPS
    )
    store.apply([view(source, [ITEM], {"price": Int64}, ttl=timedelta(hours=2))])
    joined = store.get_historical_features(ASKED, ["mapped:price"]).to_arrow()
    assert joined["price"].to_pylist() == PRICES_THEN


def test_computed_view_without_a_sink_is_computed(store: FeatureStore, tmp_path: Path) -> None:
    query = f"SELECT * FROM parquet.`{tmp_path}/prices.parquet`"  # noqa: S608
    doubled = BatchFeatureView(
        name="doubled",
        entities=[ITEM],
        source=spark_source("raw_prices", query=query),
        schema=[Field(name="twice", dtype=Int64)],
        udf=lambda rows: rows.selectExpr("*", "price * 2 AS twice"),
        udf_string="",
    )
    store.apply([doubled])
    asked = entity_frame(("1", "1", 1.5))
    assert store.get_historical_features(asked, ["doubled:twice"]).to_df()["twice"].tolist() == [20]


def test_materialised_rows_are_the_newest_of_the_window(store: FeatureStore) -> None:
    def price(item: str) -> int | None:
        asked = store.get_online_features(["prices:price"], [{"item_id": item}])
        found: int | None = asked.to_dict()["price"][0]
        return found

    store.materialize(at(0), at(1.5))
    assert price("1") == 10
    store.materialize(at(0), at(2))
    assert price("1") == BIG
    both = store.get_online_features(
        ["pairs:match", "weather:degrees"], [{"user_id": "1", "item_id": "11"}]
    )
    assert both.to_dict()["degrees"] == [5.0]
    assert both.to_dict()["match"] == ["first"]


def test_pushed_rows_are_added(store: FeatureStore, tmp_path: Path) -> None:
    store.write_to_offline_store("prices", pd.DataFrame([stamped(6, item_id="7", price=BIG)]))
    joined = store.get_historical_features(entity_frame(("1", "7", 7)), ["prices:price"])
    assert joined.to_arrow()["price"].to_pylist() == [BIG]


def test_pandas_rows_are_added_to_a_spark_source(store: FeatureStore, tmp_path: Path) -> None:
    folder = tmp_path / "pushed"
    folder.mkdir()
    write(folder, "first", [stamped(1, item_id="1", price=BIG, tags=["new"])])
    source = spark_source("pushed", path=str(folder), file_format="parquet")
    store.apply([view(source, [ITEM], {"price": Int64})])
    rows = pd.DataFrame([stamped(6, item_id="7", price=BIG, tags=None)])
    with pytest.raises(JoinInputError, match="got columns price, expected item_id, price, tags"):
        SailSparkOfflineStore.offline_write_batch(
            store.config,
            store.get_feature_view("pushed"),
            pa.Table.from_pandas(rows[["price"]]),
            None,
        )
    store.write_to_offline_store("pushed", rows)
    asked = entity_frame(("1", "7", 7), ("1", "1", 7))
    joined = store.get_historical_features(asked, ["pushed:price"])
    assert joined.to_arrow()["price"].to_pylist() == [BIG, BIG]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (ASKED.drop(columns="item_id"), "no column 'item_id', which view 'prices' is keyed by"),
        (ASKED.drop(columns="event_timestamp"), "no column 'event_timestamp'"),
        (ASKED.assign(item_id=range(5)), "column 'item_id' is int64, but string"),
        (ASKED.assign(price=0), "these columns more than once: price"),
        (
            ASKED.assign(event_timestamp=[None, *ASKED["event_timestamp"][1:]]),
            "null in 1 of 5 rows",
        ),
        (None, "expected rows to join features to"),
        ("nowhere.parquet", "no Parquet file at"),
        ("SELECT nothing FROM nowhere", "can't be read"),
    ],
)
def test_wrong_entity_rows_are_refused(store: FeatureStore, frame: Any, message: str) -> None:
    with pytest.raises(JoinInputError, match=message):
        store.get_historical_features(frame, FEATURES)


def test_missing_files_and_columns_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    write(tmp_path, "prices", [stamped(1, item_id="1", cost=10)])
    with pytest.raises(JoinInputError, match="source 'prices': no column price; it has item_id"):
        store.get_historical_features(ASKED, FEATURES)
    (tmp_path / "pairs.parquet").unlink()
    with pytest.raises(JoinInputError, match=r"'pairs': no Parquet file at .*pairs\.parquet"):
        store.get_historical_features(ASKED, ["pairs:match"])


def test_it_gives_what_the_duckdb_store_gives(store: FeatureStore, tmp_path: Path) -> None:
    here = open_store(tmp_path, DUCKDB)
    theirs = here.get_historical_features(ASKED, ["prices:price"]).to_arrow()
    ours = store.get_historical_features(ASKED, ["prices:price"]).to_arrow()
    assert ours["price"].to_pylist() == theirs["price"].to_pylist()
