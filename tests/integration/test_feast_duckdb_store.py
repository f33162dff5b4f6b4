"""Our DuckDB store through Feast's own methods, from declaration to saved dataset."""

from __future__ import annotations

from datetime import timedelta, timezone
from inspect import getsource
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    RequestSource,
)
from feast.errors import FeatureNameCollisionError, SavedDatasetLocationAlreadyExists
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import PandasTransformation
from feast.types import Bytes, Float64, Int64, String
from feast_workspace import at, vector_bytes
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

from sail_features.feast_plugin.stores.duckdb_store import SailDuckDBOfflineStore
from sail_features.feast_plugin.stores.join_errors import JoinInputError

STORE = "sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore"
TIMES = [time.to_pydatetime() for time in ASKED["event_timestamp"]]


def view(name: str, entities: list[Entity], fields: dict[str, Any], **more: Any) -> FeatureView:
    mapping = more.pop("field_mapping", None)
    source = FileSource(
        name=name,
        path=f"{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="available_at",
        field_mapping=mapping,
    )
    schema = [Field(name=feature, dtype=kind) for feature, kind in fields.items()]
    return FeatureView(name=name, entities=entities, schema=schema, source=source, **more)


PRICES = view("prices", [ITEM], {"price": Int64}, ttl=timedelta(hours=2))
PAIRS = view("pairs", [USER, ITEM], {"match": String}, field_mapping={"score": "match"})
WEATHER = view("weather", [], {"degrees": Float64})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    write_views(tmp_path)
    write(tmp_path, "costs", [stamped(1, item_id="1", price=1)])
    opened = open_store(tmp_path, STORE)
    opened.apply([USER, ITEM, PRICES, PAIRS, WEATHER])
    return opened


def test_rows_come_once_in_their_order_with_what_was_known(store: FeatureStore) -> None:
    joined = store.get_historical_features(ASKED, FEATURES).to_arrow()
    assert joined.column_names == [*ASKED.columns, "price", "match", "degrees"]
    assert joined["label"].to_pylist() == [0, 1, 2, 3, 4]
    assert joined["price"].to_pylist() == PRICES_THEN
    assert joined["match"].to_pylist() == MATCHES_THEN
    assert joined["degrees"].to_pylist() == DEGREES_THEN


def test_entity_rows_as_table_query_and_file(store: FeatureStore, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(ASKED, preserve_index=False)
    pq.write_table(table, tmp_path / "asked.parquet")
    query = f"SELECT * FROM '{tmp_path}/asked.parquet' ORDER BY label DESC"  # noqa: S608
    for held in (table, tmp_path / "asked.parquet", "asked.parquet"):
        joined = store.get_historical_features(held, FEATURES).to_arrow()
        assert joined["price"].to_pylist() == PRICES_THEN
    joined = store.get_historical_features(query, FEATURES).to_arrow()
    assert joined["label"].to_pylist() == [4, 3, 2, 1, 0]
    assert joined["match"].to_pylist() == MATCHES_THEN[::-1]


def test_frame_of_the_result_keeps_large_numbers_beside_nulls(store: FeatureStore) -> None:
    joined = store.get_historical_features(ASKED, FEATURES).to_df()
    assert joined["price"].tolist()[0] == BIG
    assert joined["price"].isna().tolist() == [False, True, False, True, True]
    assert joined["label"].dtype == ASKED["label"].dtype


def test_the_cut_can_be_turned_off(store: FeatureStore, tmp_path: Path) -> None:
    asked = entity_frame(("1", "11", 3))
    late = open_store(tmp_path, STORE, filter_by_created_timestamp=False)
    assert late.get_historical_features(asked, ["prices:price"]).to_df()["price"].tolist() == [30]
    cut = late.get_historical_features(asked, ["prices:price"], filter_by_created_timestamp=True)
    assert cut.to_arrow()["price"].to_pylist() == [None]


def test_full_names_and_mapped_keys(store: FeatureStore) -> None:
    shown = PRICES.with_name("shown").with_join_key_map({"item_id": "shown_id"})
    service = FeatureService(name="two", features=[PRICES.with_name("own"), shown])
    store.apply([service])
    asked = entity_frame(("1", "11", 3)).assign(shown_id=["1"])
    joined = store.get_historical_features(asked, service, full_feature_names=True).to_arrow()
    assert joined["own__price"].to_pylist() == [None]
    assert joined["shown__price"].to_pylist() == [BIG]


def test_times_may_be_named_as_they_are_mapped(store: FeatureStore) -> None:
    source = FileSource(name="mapped", path="prices.parquet", **MAPPED_STAMPS)
    price = Field(name="price", dtype=Int64)
    store.apply(
        [FeatureView(name="mapped", entities=[ITEM], schema=[price], source=source, ttl=PRICES.ttl)]
    )
    joined = store.get_historical_features(ASKED, ["mapped:price"]).to_arrow()
    assert joined["price"].to_pylist() == PRICES_THEN


def test_times_of_several_zones_are_taken_where_configured(
    store: FeatureStore, tmp_path: Path
) -> None:
    zone = timezone(timedelta(hours=-8))
    times = [time.astimezone(zone) if place else time for place, time in enumerate(TIMES)]
    frame = ASKED.assign(event_timestamp=pd.Series(times, dtype=object))
    with pytest.raises(JoinInputError, match="mixes time zones"):
        store.get_historical_features(frame, FEATURES)
    lenient = open_store(tmp_path, STORE, mixed_zones="utc")
    joined = lenient.get_historical_features(frame, FEATURES).to_arrow()
    assert joined["price"].to_pylist() == PRICES_THEN
    assert joined["event_timestamp"].to_pylist() == TIMES


def test_on_demand_views_are_computed(store: FeatureStore, tmp_path: Path) -> None:
    request = RequestSource(name="tax", schema=[Field(name="rate", dtype=Float64)])
    taxes = OnDemandFeatureView(
        name="taxes",
        sources=[PRICES, request],
        schema=[Field(name="taxed", dtype=Float64)],
        feature_transformation=PandasTransformation(udf=add_tax, udf_string=getsource(add_tax)),
        mode="pandas",
    )
    with pytest.warns(RuntimeWarning, match="experimental"):
        store.apply([taxes])
    asked = entity_frame(("1", "1", 1.5)).assign(rate=[0.5])
    job = store.get_historical_features(asked, ["taxes:taxed"])
    assert job.to_df()["taxed"].tolist() == [15.0]
    job.persist(SavedDatasetFileStorage("taxed.parquet"))
    assert pq.read_table(tmp_path / "taxed.parquet")["taxed"].to_pylist() == [15.0]


def test_saved_dataset_comes_back(store: FeatureStore, tmp_path: Path) -> None:
    for path in ("saved.parquet", "saved"):
        job = store.get_historical_features(ASKED, FEATURES)
        storage = SavedDatasetFileStorage(path)
        with pytest.warns(RuntimeWarning, match="experimental"):
            dataset = store.create_saved_dataset(job, path, storage)
        assert dataset.to_df()["match"].tolist() == MATCHES_THEN
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            store.get_historical_features(ASKED, FEATURES).persist(storage)
        store.get_historical_features(ASKED, FEATURES).persist(storage, allow_overwrite=True)
        assert pq.read_table(tmp_path / path)["label"].to_pylist() == [0, 1, 2, 3, 4]
    assert {path.name for path in tmp_path.glob("saved*")} == {"saved.parquet", "saved"}


def test_result_is_staged_as_files(store: FeatureStore, tmp_path: Path) -> None:
    assert not store.get_historical_features(ASKED, FEATURES).supports_remote_storage_export()
    staging = open_store(tmp_path, STORE, staging_location=str(tmp_path / "staged"))
    job = staging.get_historical_features(ASKED, FEATURES)
    assert job.supports_remote_storage_export()
    files = job.to_remote_storage()
    assert pq.read_table(files[0])["match"].to_pylist() == MATCHES_THEN


def test_materialised_rows_are_the_newest_of_the_window(store: FeatureStore) -> None:
    def price(item: str) -> int | None:
        return store.get_online_features(["prices:price"], [{"item_id": item}]).to_dict()["price"][
            0
        ]

    store.materialize(at(0), at(1.5))
    assert price("1") == 10
    store.materialize(at(0), at(2))
    assert price("1") == BIG
    assert price("11") == 30
    both = store.get_online_features(["prices:price", "weather:degrees"], [{"item_id": "1"}])
    assert both.to_dict()["degrees"] == [5.0]


def test_pushed_rows_are_added_and_the_file_replaced(store: FeatureStore, tmp_path: Path) -> None:
    more = pd.DataFrame([stamped(6, item_id="7", price=BIG)])
    store.write_to_offline_store("prices", more)
    joined = store.get_historical_features(entity_frame(("1", "7", 7)), ["prices:price"])
    assert joined.to_arrow()["price"].to_pylist() == [BIG]
    assert pq.read_metadata(tmp_path / "prices.parquet").num_rows == 5
    assert not list(tmp_path.glob(".prices*"))


def test_source_may_be_a_folder_or_a_pattern(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "prices.parquet").rename(tmp_path / "part.parquet")
    (tmp_path / "prices.parquet").mkdir()
    (tmp_path / "part.parquet").rename(tmp_path / "prices.parquet" / "part.parquet")
    store.write_to_offline_store("prices", pd.DataFrame([stamped(6, item_id="7", price=1)]))
    joined = store.get_historical_features(entity_frame(("1", "7", 7)), ["prices:price"])
    assert joined.to_arrow()["price"].to_pylist() == [1]
    PRICES.batch_source.file_options.uri, whole = "prices.parquet/*.parquet", "prices.parquet"
    try:
        store.apply([PRICES])
        with pytest.raises(JoinInputError, match="a pattern over partitions"):
            SailDuckDBOfflineStore.offline_write_batch(store.config, PRICES, pa.table({}), None)
    finally:
        PRICES.batch_source.file_options.uri = whole


def test_logged_features_are_added_to_their_folder(store: FeatureStore, tmp_path: Path) -> None:
    logs = FileLoggingDestination(path="logs")
    service = FeatureService(
        name="logged", features=[PRICES], logging_config=LoggingConfig(destination=logs)
    )
    store.apply([service])
    schema = FeatureServiceLoggingSource(service, store.project).get_schema(registry(store))
    rows = pa.Table.from_pylist(
        [{"item_id": "1", "prices__price": BIG, "__log_timestamp": at(3)}], schema=schema
    )
    for _ in range(2):
        store.write_logged_features(rows, service)
    found = store._get_provider().retrieve_feature_service_logs(
        service, at(3), at(3), store.config, registry(store)
    )
    assert found.to_arrow()["prices__price"].to_pylist() == [BIG, BIG]


def registry(store: FeatureStore) -> BaseRegistry:
    return store.registry


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (ASKED.drop(columns="item_id"), "no column 'item_id', which view 'prices' is keyed by"),
        (ASKED.drop(columns="event_timestamp"), "no column 'event_timestamp'"),
        (ASKED.assign(item_id=1), "int64, but string in the source of view 'prices'"),
        (ASKED.rename(columns={"label": "price"}), "more than once: price"),
        (None, "expected rows to join features to"),
    ],
)
def test_bad_entity_frames_are_refused_before_the_join(
    store: FeatureStore, frame: pd.DataFrame | None, message: str
) -> None:
    with pytest.raises(JoinInputError, match=message):
        store.get_historical_features(frame, FEATURES)


def test_missing_files_and_columns_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    write(tmp_path, "prices", [stamped(1, item_id="1", cost=10)])
    with pytest.raises(JoinInputError, match="source 'prices': no column price; it has item_id"):
        store.get_historical_features(ASKED, FEATURES)
    (tmp_path / "prices.parquet").unlink()
    with pytest.raises(JoinInputError, match=r"'prices': no Parquet file at .*prices\.parquet"):
        store.get_historical_features(ASKED, FEATURES)


def test_features_of_one_name_are_refused_by_feast(store: FeatureStore) -> None:
    store.apply([view("costs", [ITEM], {"price": Int64})])
    with pytest.raises(FeatureNameCollisionError):
        store.get_historical_features(ASKED, ["prices:price", "costs:price"])


def test_vectors_of_different_encoders_are_not_joined(store: FeatureStore, tmp_path: Path) -> None:
    vector = vector_bytes(1, 0)
    write(tmp_path, "items", [stamped(1, item_id="1", vector=vector)])
    write(tmp_path, "users", [stamped(1, user_id="1", interest=vector)])
    items = view("items", [ITEM], {"vector": Bytes}, tags={"encoder_id": "text-v1"})
    users = view("users", [USER], {"interest": Bytes}, tags={"encoder_id": "text-v2"})
    store.apply([items, users])
    with pytest.raises(JoinInputError, match="items of text-v1, users of text-v2"):
        store.get_historical_features(ASKED, ["items:vector", "users:interest"])
    alone = store.get_historical_features(ASKED, ["items:vector"]).to_arrow()
    assert alone["vector"][0].as_py() == vector
