"""An offline store for clusters: point-in-time joins by Spark, linear and in order.

Named in ``feature_store.yaml`` as
``type: sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore``.
Against Feast's own Spark store it never mixes up keys that read alike when put end to
end, doesn't see rows before they were created, keeps the entity rows' order, and joins
each view in one pass (`sail_features.spark.as_of_join`, decision 0016). Its semantics are
those of `duckdb_store`, whose checks it shares. Feature monitoring is Feast's.

Known gaps: entity rows are needed (Feast's retrieval between two dates isn't there); a
saved dataset in a `SavedDatasetSparkStorage` path can't be read back, since Feast gives
its source no name: use `SavedDatasetFileStorage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
)
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from pydantic import StrictBool, StrictStr
from pyspark.sql import Column
from pyspark.sql import functions as f

from sail_features.feast_plugin.spark_session import open_session
from sail_features.feast_plugin.stores.entity_frames import MixedZones, since_1970_us
from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.join_plan import check_encoders, check_names, view_requests
from sail_features.feast_plugin.stores.parquet_files import absolute, append_rows, folder_of
from sail_features.feast_plugin.stores.spark_entities import for_spark, read_entities
from sail_features.feast_plugin.stores.spark_job import SailSparkRetrievalJob
from sail_features.feast_plugin.stores.spark_plan import plan_join
from sail_features.feast_plugin.stores.spark_sources import SparkRelation, open_relation
from sail_features.spark.newest import newest_by_key


class SailSparkOfflineStoreConfig(SparkOfflineStoreConfig):  # type: ignore[misc]
    """Settings of the store, beside Feast's ``spark_conf`` and ``staging_location``.

    ``filter_by_created_timestamp``: no row is seen before it was created, whatever the
    call says. ``mixed_zones``: "utc" takes entity rows whose times are of several zones,
    which are refused otherwise. ``spark_conf`` is for a session that the store starts: one
    that runs is used as it is.
    """

    type: StrictStr = f"{__name__}.SailSparkOfflineStore"
    filter_by_created_timestamp: StrictBool = True
    mixed_zones: MixedZones = "raise"


class SailSparkOfflineStore(SparkOfflineStore):  # type: ignore[misc]
    """Feast's Spark store with a point-in-time join and reads of its own."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: object,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: object,
    ) -> SailSparkRetrievalJob:
        """Return the features of each entity row, as they were known at its time.

        Which row of a view answers is said at `SailDuckDBOfflineStore`.

        Parameters
        ----------
        entity_df : Spark or pandas DataFrame, Arrow table, SQL or path of Parquet files.

        Returns
        -------
        A job whose result has the entity rows, each once and in their order, with their
        own columns first and the features in the order of ``feature_refs`` by view.

        Raises
        ------
        JoinInputError
            The entity rows, a view's source or the names don't fit together.
        """
        spark, folder, store = _session(config), folder_of(config), config.offline_store
        entities = read_entities(spark, entity_df, folder, mixed_zones=store.mixed_zones)
        requests = view_requests(feature_views, feature_refs, full_feature_names=full_feature_names)
        check_names(entities.names, requests)
        check_encoders(requests)
        cut = filter_by_created_timestamp or store.filter_by_created_timestamp
        joined, times = plan_join(spark, entities, requests, folder, cut_at_created=cut)
        return SailSparkRetrievalJob(
            joined,
            config,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entities.names if name != entities.timestamp],
                min_event_timestamp=times.first,
                max_event_timestamp=times.last,
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> SailSparkRetrievalJob:
        """Return the newest row of each key from ``start_date`` to ``end_date``, both included."""
        relation = open_relation(_session(config), data_source, folder_of(config))
        times = [name for name in (timestamp_field, created_timestamp_column) if name]
        names = list(dict.fromkeys([*join_key_columns, *feature_name_columns, *times]))
        relation.check_has([*names, *times])
        newest = newest_by_key(
            relation.frame.where(_within(relation, timestamp_field, start_date, end_date)),
            _renamed(relation, names, data_source),
            [relation.column(name) for name in join_key_columns],
            [relation.microseconds(name) for name in times],
        )
        if not join_key_columns:
            newest = newest.withColumn(DUMMY_ENTITY_ID, f.lit(DUMMY_ENTITY_VAL))
        return SailSparkRetrievalJob(newest, config)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> SailSparkRetrievalJob:
        """Return all rows from ``start_date`` to ``end_date``, both included, as stored.

        Without ``feature_name_columns``, it gives all columns under their own names, as in Feast.
        """
        relation = open_relation(_session(config), data_source, folder_of(config))
        times = [name for name in (timestamp_field, created_timestamp_column) if name]
        asked = [*join_key_columns, *feature_name_columns, *times]
        relation.check_has(asked)
        rows = relation.frame.where(_within(relation, timestamp_field, start_date, end_date))
        if not feature_name_columns:
            return SailSparkRetrievalJob(rows.toDF(*relation.schema.names), config)
        columns = _renamed(relation, list(dict.fromkeys(asked)), data_source)
        return SailSparkRetrievalJob(rows.select(*columns), config)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to the source of a view.

        Raises
        ------
        JoinInputError
            The columns aren't the source's, or it is a pattern over partitions.
        """
        source, folder = feature_view.batch_source, folder_of(config)
        if not isinstance(source, FileSource):
            stored = open_relation(_session(config), source, folder)
            rows = _in_types_of(stored, table)
            SparkOfflineStore.offline_write_batch(config, feature_view, rows, progress)
            return
        append_rows(table, absolute(source.path, folder))
        if progress:
            progress(table.num_rows)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Raise where a source can't be read."""
        open_relation(_session(config), data_source, folder_of(config))

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Return the columns of a source, which ``feast apply`` makes fields of."""
        if not isinstance(data_source, FileSource):
            _session(config)
        columns: Iterable[tuple[str, str]] = data_source.get_table_column_names_and_types(config)
        return columns


def _in_types_of(relation: SparkRelation, rows: pa.Table) -> pa.Table:
    """Return rows in the source's types: pandas has nanoseconds, and none for nulls alone."""
    if rows.column_names != relation.schema.names:
        raise JoinInputError.columns_differ(relation.name, rows.column_names, relation.schema.names)
    return for_spark(rows).cast(relation.schema)


def _renamed(relation: SparkRelation, names: list[str], source: DataSource) -> list[Column]:
    """Return columns under the names that the view gives them: Feast's engines expect these."""
    mapping = source.field_mapping or {}
    return [relation.column(name).alias(mapping.get(name, name)) for name in names]


def _within(
    relation: SparkRelation, column: str, start: datetime | None, end: datetime | None
) -> Column:
    """Return the condition that a row's time is from ``start`` to ``end``, both included."""
    time, inside = relation.microseconds(column), f.lit(True)
    if start is not None:
        inside &= time >= since_1970_us(start)
    if end is not None:
        inside &= time <= since_1970_us(end)
    return inside


def _session(config: RepoConfig) -> Any:
    return open_session(config.offline_store.spark_conf)
