"""A compute engine that brings rows online without Spark, a batch of them at a time.

Named in ``feature_store.yaml`` as ``batch_engine:
{type: sail_features.feast_plugin.engine.local_engine.SailLocalComputeEngine}``. Feast's
local engine holds all rows of a view several times over, once as pandas objects. Here the
offline store's newest rows stream into the online store, so that memory doesn't grow with
what a row weighs. What else the local engine does (transformations, aggregations,
validation, views on views) stays Feast's.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from feast import FeatureView
from feast.feature_view_utils import has_transformation
from feast.infra.common.materialization_job import (
    MaterializationJob,
    MaterializationJobStatus,
    MaterializationTask,
)
from feast.infra.compute_engines.dag.context import ColumnInfo
from feast.infra.compute_engines.feature_builder import FeatureBuilder
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.feature_builder import LocalFeatureBuilder
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import _convert_arrow_to_proto
from pydantic import StrictStr

from sail_features.feast_plugin.engine.newest_rows import newest_rows
from sail_features.feast_plugin.stores.retrieval_job import SailRetrievalJob

ROWS_A_WRITE: Final = 10_000
"""Unless ``materialization: online_write_batch_size`` says otherwise."""


class SailLocalComputeEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """Settings of the engine, which are Feast's; ``backend`` is used by its own nodes only."""

    type: StrictStr = f"{__name__}.SailLocalComputeEngine"


class SailLocalComputeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local engine, but for views whose rows are copied as they are."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: object
    ) -> MaterializationJob:
        """Bring one view's newest rows of the task's window online."""
        view = task.feature_view
        if not _is_copied(view):
            return super()._materialize_one(registry, task, **kwargs)
        try:
            columns = self._columns(registry, task)
            job = newest_rows(self, task, columns)
            if not isinstance(job, SailRetrievalJob):
                return super()._materialize_one(registry, task, **kwargs)
            self._write_online(view, job, columns.field_mapping or {})
        except Exception as error:
            status = MaterializationJobStatus.ERROR
            return LocalMaterializationJob(_name(task), status, error)
        return LocalMaterializationJob(_name(task), MaterializationJobStatus.SUCCEEDED)

    def _columns(self, registry: BaseRegistry, task: MaterializationTask) -> ColumnInfo:
        builder: FeatureBuilder = LocalFeatureBuilder(registry, task, backend=None)
        return builder.get_column_info(task.feature_view)

    def _write_online(
        self, view: FeatureView, job: SailRetrievalJob, renamed: dict[str, str]
    ) -> None:
        keys = {key.name: key.dtype.to_value_type() for key in view.entity_columns}
        size = self.repo_config.materialization_config.online_write_batch_size or ROWS_A_WRITE
        for batch in job.read_batches(size):
            names = [renamed.get(name, name) for name in batch.schema.names]
            rows = pa.RecordBatch.from_arrays(batch.columns, names=names)
            self.online_store.online_write_batch(
                config=self.repo_config,
                table=view,
                data=_convert_arrow_to_proto(rows, view, keys),
                progress=None,
            )


def _is_copied(view: FeatureView) -> bool:
    """Tell whether a view's rows go online just as the offline store has them."""
    computed = has_transformation(view) or getattr(view, "aggregations", None)
    checked = getattr(view, "enable_validation", False) or getattr(view, "filter", None)
    return bool(
        view.online
        and view.batch_source
        and not (computed or checked or view.source_views or getattr(view, "offline", False))
    )


def _name(task: MaterializationTask) -> str:
    return f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
