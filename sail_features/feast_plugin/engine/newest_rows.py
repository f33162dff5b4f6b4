"""How both engines ask an offline store for what goes online without being computed."""

from __future__ import annotations

from feast.infra.common.materialization_job import MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.dag.context import ColumnInfo
from feast.infra.offline_stores.offline_store import RetrievalJob


def newest_rows(
    engine: ComputeEngine, task: MaterializationTask, columns: ColumnInfo
) -> RetrievalJob:
    """Return the newest row of each key in the task's window, not yet read."""
    return engine.offline_store.pull_latest_from_table_or_query(
        config=engine.repo_config,
        data_source=task.feature_view.batch_source,
        join_key_columns=columns.join_keys,
        feature_name_columns=columns.feature_cols,
        timestamp_field=columns.ts_col,
        created_timestamp_column=columns.created_ts_col,
        start_date=task.start_time,
        end_date=task.end_time,
    )
