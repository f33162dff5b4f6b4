"""A compute engine that materializes batch feature views with Spark, once and for good.

Named in ``feature_store.yaml`` as ``batch_engine:
{type: sail_features.feast_plugin.engine.spark_engine.SailSparkComputeEngine}``. Against
Feast's own Spark engine: a view's transformation runs once, whether its rows go online,
offline or both; its sink has every row of the window, not the newest of each key alone;
to materialize a window again leaves the same rows; ``spark_conf`` is in force; a failure
of Spark is the failure of the command.

A view says in its tags what its transformation depends on: ``content_columns``, names
with commas between, and ``encoder_id``. Then each distinct content is transformed once,
ever, until the encoder changes. Views without a transformation go from the offline
store to the online store.

Known gaps: sinks need a mounted file system; a view with a sink can't rename columns
(``field_mapping``); a killed run loses what it had encoded and not yet published (the
encode job, `sail_features.spark.encode`, keeps it).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
from feast import BatchFeatureView, FeatureView
from feast.feature_view_utils import has_transformation
from feast.infra.common.materialization_job import (
    MaterializationJob,
    MaterializationJobStatus,
    MaterializationTask,
)
from feast.infra.common.serde import SerializedArtifacts
from feast.infra.compute_engines.dag.context import ColumnInfo
from feast.infra.compute_engines.spark.compute import SparkComputeEngine, SparkComputeEngineConfig
from feast.infra.compute_engines.spark.feature_builder import SparkFeatureBuilder
from feast.infra.compute_engines.spark.job import SparkMaterializationJob
from feast.infra.compute_engines.spark.utils import map_in_arrow
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from pydantic import StrictStr
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.errors import ConfigError, InputError
from sail_features.feast_plugin.batch_views import CONTENT_COLUMNS, sink_of
from sail_features.feast_plugin.engine.compute_plan import ComputePlan, RunTransform, Transform
from sail_features.feast_plugin.engine.contents import CONTENT, ContentColumns, transform_once
from sail_features.feast_plugin.engine.daily_sink import DailySink
from sail_features.feast_plugin.engine.newest_rows import newest_rows
from sail_features.feast_plugin.spark_session import session_with
from sail_features.feast_plugin.stores.parquet_files import absolute, folder_of, is_remote
from sail_features.spark.newest import newest_by_key

_COUNT: Final = "rows bigint"


class SailSparkComputeEngineConfig(SparkComputeEngineConfig):  # type: ignore[misc]
    """Settings of the engine, which are Feast's.

    ``spark_conf``: in force while a view is materialized; a setting that a running Spark
    can't take any more is refused. ``partitions``: how many tasks write into the online
    store; 0 leaves it to Spark. Into a SQLite file one does.
    """

    type: StrictStr = f"{__name__}.SailSparkComputeEngine"


class SailSparkComputeEngine(SparkComputeEngine):  # type: ignore[misc]
    """Feast's Spark engine with a way of its own to materialize."""

    def _materialize_one(
        self,
        registry: BaseRegistry,
        task: MaterializationTask,
        from_offline_store: bool = False,
        **kwargs: object,
    ) -> MaterializationJob:
        """Compute, keep and serve one view's rows of the task's window."""
        if from_offline_store:
            return super()._materialize_one(registry, task, from_offline_store, **kwargs)
        view = task.feature_view
        name = f"{view.name}-{task.start_time}-{task.end_time}"
        conf = self.repo_config.batch_engine.spark_conf or {}
        start_with = getattr(self.repo_config.offline_store, "spark_conf", None) or {}
        try:
            with session_with(conf, start_with=start_with) as spark:
                columns = self._columns(registry, task)
                if _is_computed(view):
                    rows = self._computed(spark, registry, task, columns)
                else:
                    rows = self._stored(task, columns)
                if rows is not None and view.online:
                    self._write_online(view, rows)
        except Exception as error:
            failed = MaterializationJobStatus.ERROR
            return SparkMaterializationJob(job_id=name, status=failed, error=error)
        return SparkMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)

    def _columns(self, registry: BaseRegistry, task: MaterializationTask) -> ColumnInfo:
        return SparkFeatureBuilder(registry, None, task).get_column_info(task.feature_view)

    def _stored(self, task: MaterializationTask, columns: ColumnInfo) -> DataFrame:
        """Return the newest row of each key that the offline store has."""
        return newest_rows(self, task, columns).to_spark_df()

    def _computed(
        self,
        spark: SparkSession,
        registry: BaseRegistry,
        task: MaterializationTask,
        columns: ColumnInfo,
    ) -> DataFrame | None:
        """Compute a view's rows, keep them in its sink, and return the newest of each key."""
        view = task.feature_view
        sink = self._sink(spark, view)
        features = [field.name for field in view.features]
        times = [name for name in (columns.ts_col, columns.created_ts_col) if name]
        if sink is None:
            rows = self._run(spark, registry, task, None)
        else:
            rows = self._kept(spark, registry, task, columns, sink)
        if rows is None:
            return None
        return newest_by_key(
            rows,
            [f.col(name) for name in dict.fromkeys([*columns.join_keys, *features, *times])],
            [f.col(name) for name in columns.join_keys],
            [f.col(name) for name in times],
        )

    def _kept(
        self,
        spark: SparkSession,
        registry: BaseRegistry,
        task: MaterializationTask,
        columns: ColumnInfo,
        sink: DailySink,
    ) -> DataFrame | None:
        """Put the rows of the window into the sink, and return them as they lie there."""
        view = task.feature_view
        window = (task.start_time, task.end_time)
        sink.check_lineage(*window)
        content = _content_columns(view, columns)
        with sink.tables.working_folder(sink.table) as work:
            run = None
            if content is not None:

                def run(raw: DataFrame, transform: Transform) -> DataFrame:
                    return transform_once(raw, transform, sink.known(), content, work)

            rows = self._run(spark, registry, task, run)
            names = content.row if content else _row_columns(columns)
            bookkeeping = [CONTENT] if content else []
            features = [field.name for field in view.features]
            kept = list(dict.fromkeys([*names, *features, *bookkeeping]))
            return sink.replace(_select(view, rows, kept), *window, work)

    def _run(
        self,
        spark: SparkSession,
        registry: BaseRegistry,
        task: MaterializationTask,
        run: RunTransform | None,
    ) -> DataFrame:
        plan = ComputePlan(registry, spark, task, run).build()
        rows: DataFrame = plan.execute(self.get_execution_context(registry, task)).data
        return rows

    def _sink(self, spark: SparkSession, view: BatchFeatureView) -> DailySink | None:
        sink = sink_of(view)
        if sink is None:
            _check_no_sink_wanted(view)
            return None
        path = absolute(sink.path.removeprefix("file://"), folder_of(self.repo_config))
        if is_remote(path):
            raise ConfigError.say(
                f"view {view.name!r}",
                f"its sink {path} is no mounted path, and partitions are put in place by renaming",
                hint="mount it, and give the mounted path",
            )
        told = (c.ENCODER_ID, CONTENT_COLUMNS)
        lineage = {name: view.tags[name] for name in told if name in view.tags}
        return DailySink(spark, Path(path), sink.timestamp_field, lineage)

    def _write_online(self, view: BatchFeatureView, rows: DataFrame) -> None:
        """Write rows into the online store, from Spark's tasks."""
        artifacts = SerializedArtifacts.serialize(view, self.repo_config)
        writers = self.repo_config.batch_engine.partitions
        if isinstance(self.online_store, SqliteOnlineStore):
            writers = 1  # the file has one writer at a time

        def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in map_in_arrow(batches, artifacts, mode="online"):
                yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})

        spread = rows.repartition(writers) if writers else rows
        spread.mapInArrow(write, _COUNT).collect()


def _is_computed(view: FeatureView) -> bool:
    return isinstance(view, BatchFeatureView) and bool(
        has_transformation(view) or view.source_views or view.aggregations
    )


def _row_columns(columns: ColumnInfo) -> tuple[str, ...]:
    times = (name for name in (columns.ts_col, columns.created_ts_col) if name)
    return (*columns.join_keys, *times)


def _content_columns(view: BatchFeatureView, columns: ColumnInfo) -> ContentColumns | None:
    """Return what a view says its transformation depends on, or None where it doesn't say.

    Raises
    ------
    ConfigError
        It doesn't name its encoder.
    """
    named = view.tags.get(CONTENT_COLUMNS)
    if not named:
        return None
    if c.ENCODER_ID not in view.tags:
        raise ConfigError.say(
            f"view {view.name!r}",
            f"has a tag {CONTENT_COLUMNS!r} and none {c.ENCODER_ID!r}",
            hint="name what computes its features: contents are computed again when it changes",
        )
    return ContentColumns(
        view=view.name,
        content=tuple(name.strip() for name in named.split(",")),
        keys=tuple(columns.join_keys),
        time=columns.ts_col,
        created=columns.created_ts_col or None,
        features=tuple(field.name for field in view.features),
    )


def _check_no_sink_wanted(view: BatchFeatureView) -> None:
    if view.offline:
        raise ConfigError.say(
            f"view {view.name!r}",
            "is offline=True, but its source names no place for what is computed",
            hint="give its SparkSource a query for the raw rows and a path for the computed ones",
        )


def _select(view: BatchFeatureView, rows: DataFrame, names: list[str]) -> DataFrame:
    for name in names:
        if name not in rows.columns:
            where = f"transformation of view {view.name!r}"
            raise InputError.missing_column(where, name, rows.columns)
    return rows.select(*names)
