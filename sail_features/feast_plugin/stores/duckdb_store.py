"""An offline store for one machine: point-in-time joins by DuckDB, straight to Arrow.

Named in ``feature_store.yaml`` as
``type: sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore``.
Against Feast's own DuckDB store it keeps the order of the entity rows, doesn't see
rows before they were created, takes entity rows from Arrow, SQL and Parquet too,
replaces files whole, and costs a fraction (`benchmarks/feast_join.py`, decision
0012). Feature monitoring is Feast's.

Known gaps: entity rows are needed (Feast's retrieval between two dates isn't there) and
held in memory; times are compared in whole
microseconds; sources that aren't Parquet on a mounted disk are loaded whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from feast import FeatureView
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from pydantic import PositiveInt, StrictBool, StrictStr

from sail_features.feast_plugin.stores.asof_sql import identifier, latest_sql, literal
from sail_features.feast_plugin.stores.database import open_database
from sail_features.feast_plugin.stores.duckdb_plan import load_join
from sail_features.feast_plugin.stores.entity_frames import (
    MixedZones,
    find_timestamp,
    read_entities,
    since_1970_us,
)
from sail_features.feast_plugin.stores.join_plan import check_encoders, check_names, view_requests
from sail_features.feast_plugin.stores.parquet_files import (
    absolute,
    append_rows,
    folder_of,
    write_folder,
)
from sail_features.feast_plugin.stores.retrieval_job import SailRetrievalJob
from sail_features.feast_plugin.stores.sources import Relation, is_local_parquet, open_relation


class SailDuckDBOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Settings of the store, beside Feast's ``staging_location``.

    ``filter_by_created_timestamp``: no row is seen before it was created, whatever the
    call says. ``mixed_zones``: "utc" takes entity rows whose times are of several zones,
    which are refused otherwise. ``memory_limit`` ("8GB"; DuckDB's default is 80 % of the
    machine's), ``threads`` and ``temp_directory``, into which what is larger than memory
    spills.
    """

    type: StrictStr = f"{__name__}.SailDuckDBOfflineStore"
    filter_by_created_timestamp: StrictBool = True
    mixed_zones: MixedZones = "raise"
    memory_limit: StrictStr | None = None
    temp_directory: StrictStr | None = None
    threads: PositiveInt | None = None


class SailDuckDBOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Feast's DuckDB store with a point-in-time join, reads and writes of its own."""

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
    ) -> SailRetrievalJob:
        """Return the features of each entity row, as they were known at its time.

        A row of a view answers where its ``event_timestamp`` is the newest that isn't
        after the entity row's time and no older than the view's TTL, both ends
        included; of equal ones, the last created. Where none answers, features are null.

        Parameters
        ----------
        entity_df : DataFrame, Arrow table, SQL or path of Parquet files.

        Returns
        -------
        A job whose result has the entity rows, each once and in their order, with their
        own columns first and the features in the order of ``feature_refs`` by view.

        Raises
        ------
        JoinInputError
            The entity rows, a view's files or the names don't fit together.
        """
        con, folder, store = _connect(config), folder_of(config), config.offline_store
        entities = read_entities(entity_df, con, folder, mixed_zones=store.mixed_zones)
        times = entities[timestamp := find_timestamp(entities)]
        requests = view_requests(feature_views, feature_refs, full_feature_names=full_feature_names)
        check_names(entities.column_names, requests)
        check_encoders(requests)
        query = load_join(
            con,
            entities,
            requests,
            folder,
            cut_at_created=filter_by_created_timestamp or store.filter_by_created_timestamp,
        )
        bounds = pc.min_max(times).as_py()
        return SailRetrievalJob(
            con,
            query.sql,
            [name for request in requests for name in request.columns],
            folder=folder,
            entities=entities,
            wide=query.wide,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entities.column_names if name != timestamp],
                min_event_timestamp=bounds["min"],
                max_event_timestamp=bounds["max"],
            ),
            staging=(store.staging_location, store.staging_location_endpoint_override),
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
    ) -> SailRetrievalJob:
        """Return the newest row of each key from ``start_date`` to ``end_date``, both included."""
        con = _connect(config)
        relation = open_relation(con, data_source, folder_of(config))
        times = [name for name in (timestamp_field, created_timestamp_column) if name]
        names = relation.pick(join_key_columns, feature_name_columns, times)
        columns = list(map(identifier, names))
        if not join_key_columns:
            columns.append(f"{literal(DUMMY_ENTITY_VAL)} AS {identifier(DUMMY_ENTITY_ID)}")
            names.append(DUMMY_ENTITY_ID)
        sql = latest_sql(
            relation.sql,
            columns,
            join_key_columns,
            [relation.microseconds(name) for name in times],
            where=_within(relation, timestamp_field, start_date, end_date),
        )
        return _pull(config, con, sql, names)

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
    ) -> SailRetrievalJob:
        """Return all rows from ``start_date`` to ``end_date``, both included, as stored."""
        con = _connect(config)
        relation = open_relation(con, data_source, folder_of(config))
        times = [name for name in (timestamp_field, created_timestamp_column) if name]
        names = relation.pick(join_key_columns, feature_name_columns, times)
        where = _within(relation, timestamp_field, start_date, end_date)
        columns = ", ".join(map(identifier, names))
        sql = f"SELECT {columns} FROM {relation.sql} WHERE {where}"  # noqa: S608
        return _pull(config, con, sql, names)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to the source of a view, whose file is replaced when all are written.

        Raises
        ------
        JoinInputError
            The columns aren't the source's, or it is a pattern over partitions.
        """
        folder, source = folder_of(config), feature_view.batch_source
        if not is_local_parquet(source, folder):
            DuckDBOfflineStore.offline_write_batch(config, feature_view, table, progress)
            return
        append_rows(table, absolute(source.path, folder))
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add logged features to their folder, as new files."""
        rows = data if isinstance(data, pa.Table) else ds.dataset(data, format="parquet")
        destination = logging_config.destination
        path = absolute(destination.path, folder_of(config))
        write_folder(rows, path, partition_by=destination.partition_by)


def _pull(
    config: RepoConfig, con: duckdb.DuckDBPyConnection, sql: str, names: Sequence[str]
) -> SailRetrievalJob:
    store = config.offline_store
    return SailRetrievalJob(
        con,
        sql,
        names,
        folder=folder_of(config),
        staging=(store.staging_location, store.staging_location_endpoint_override),
    )


def _within(relation: Relation, column: str, start: datetime | None, end: datetime | None) -> str:
    """Return the condition that a row's time is from ``start`` to ``end``, both included."""
    time = relation.microseconds(column)
    bounds = [
        f"{time} {sign} {since_1970_us(moment)}"
        for sign, moment in ((">=", start), ("<=", end))
        if moment is not None
    ]
    return " AND ".join(bounds) or "true"


def _connect(config: RepoConfig) -> duckdb.DuckDBPyConnection:
    store = config.offline_store
    spill = store.temp_directory
    return open_database(
        memory_limit=store.memory_limit,
        threads=store.threads,
        temp_directory=absolute(spill, folder_of(config)) if spill else None,
    )
