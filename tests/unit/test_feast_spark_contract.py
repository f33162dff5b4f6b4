"""What our Spark store and engine override or call inside Feast is what they were written for.

A failure here means: Feast changed one of these pieces. Read its new source, mend ours
where it must follow, then put the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from feast import BatchFeatureView
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.dag.plan import ExecutionPlan
from feast.infra.compute_engines.feature_builder import FeatureBuilder
from feast.infra.compute_engines.spark import compute, feature_builder, nodes, utils
from feast.infra.offline_stores.contrib.spark_offline_store import spark
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.passthrough_provider import PassthroughProvider

from sail_features.feast_plugin.engine.compute_plan import ComputePlan
from sail_features.feast_plugin.engine.spark_engine import (
    SailSparkComputeEngine,
    SailSparkComputeEngineConfig,
)
from sail_features.feast_plugin.stores.spark_job import SailSparkRetrievalJob
from sail_features.feast_plugin.stores.spark_store import (
    SailSparkOfflineStore,
    SailSparkOfflineStoreConfig,
)

RELIED_ON = {
    spark.SparkOfflineStore.offline_write_batch: "90e26e48af87",
    spark.SparkRetrievalJob.__init__: "b44d99e95f8c",
    spark.SparkRetrievalJob.persist: "13a037929610",
    spark.SparkRetrievalJob.to_remote_storage: "35ae2b11cd3b",
    SparkSource._load_dataframe_from_path: "ee3e624dbc01",
    compute.SparkComputeEngine._materialize_one: "a7d09ebb6dd3",
    ComputeEngine.materialize: "01f00e19f37e",
    ComputeEngine.get_execution_context: "a591391160fa",
    PassthroughProvider.materialize_single_feature_view: "5a00403f34a4",
    FeatureBuilder._build: "e6724414e9ad",
    FeatureBuilder.build: "829f6b64085b",
    FeatureBuilder.get_column_info: "8715aab2531d",
    ExecutionPlan.execute: "fa487efc9a50",
    feature_builder.SparkFeatureBuilder.build_source_node: "c8466e58148f",
    feature_builder.SparkFeatureBuilder.build_transformation_node: "53b1fe718f5d",
    nodes.SparkReadNode: "5540adbce97b",
    nodes.SparkTransformationNode: "707aa63415ef",
    nodes.SparkWriteNode: "e63446241bbe",
    utils.map_in_arrow: "dc10ca3147f8",
    BatchFeatureView.__init__: "11d870486162",
}
OVERRIDDEN = [
    (SailSparkOfflineStore, spark.SparkOfflineStore, "get_historical_features"),
    (SailSparkOfflineStore, spark.SparkOfflineStore, "pull_latest_from_table_or_query"),
    (SailSparkOfflineStore, spark.SparkOfflineStore, "pull_all_from_table_or_query"),
    (SailSparkOfflineStore, spark.SparkOfflineStore, "offline_write_batch"),
    (SailSparkOfflineStore, spark.SparkOfflineStore, "validate_data_source"),
    (
        SailSparkOfflineStore,
        spark.SparkOfflineStore,
        "get_table_column_names_and_types_from_data_source",
    ),
    (SailSparkRetrievalJob, spark.SparkRetrievalJob, "to_spark_df"),
    (SailSparkRetrievalJob, spark.SparkRetrievalJob, "to_df"),
    (SailSparkRetrievalJob, spark.SparkRetrievalJob, "persist"),
    (SailSparkRetrievalJob, spark.SparkRetrievalJob, "to_remote_storage"),
    (SailSparkComputeEngine, compute.SparkComputeEngine, "_materialize_one"),
    (ComputePlan, feature_builder.SparkFeatureBuilder, "build_source_node"),
    (ComputePlan, FeatureBuilder, "_should_dedupe"),
]


def digest(piece: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(piece).encode()).hexdigest()[:12]


@pytest.mark.parametrize("piece", RELIED_ON, ids=lambda piece: piece.__qualname__)
def test_piece_of_feast_is_unchanged(piece: Callable[..., Any]) -> None:
    assert digest(piece) == RELIED_ON[piece]


@pytest.mark.parametrize(("ours", "theirs", "name"), OVERRIDDEN)
def test_overridden_methods_take_the_same_arguments(ours: type, theirs: type, name: str) -> None:
    mine, feasts = (
        list(inspect.signature(getattr(kind, name)).parameters) for kind in (ours, theirs)
    )
    assert mine == feasts


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (SailSparkOfflineStoreConfig(), SailSparkOfflineStore),
        (SailSparkComputeEngineConfig(), SailSparkComputeEngine),
    ],
)
def test_configuration_names_its_own_class(settings: Any, named: type) -> None:
    assert settings.type == f"{named.__module__}.{named.__qualname__}"
