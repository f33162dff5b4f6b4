"""Feast's plan of how a batch feature view is computed, without its writing.

The plan is Feast's: views of views, filters, aggregations, validation. But it reads every
row of the window, keeps every row that was computed, and can be told how to run the
transformation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feast import BatchFeatureView
from feast.infra.common.materialization_job import MaterializationTask
from feast.infra.compute_engines.dag.context import ExecutionContext
from feast.infra.compute_engines.dag.model import DAGFormat
from feast.infra.compute_engines.dag.node import DAGNode
from feast.infra.compute_engines.dag.value import DAGValue
from feast.infra.compute_engines.spark.feature_builder import SparkFeatureBuilder
from feast.infra.compute_engines.spark.nodes import SparkReadNode, SparkTransformationNode
from feast.infra.registry.base_registry import BaseRegistry
from pyspark.sql import DataFrame, SparkSession

Transform = Callable[[DataFrame], DataFrame]
RunTransform = Callable[[DataFrame, Transform], DataFrame]
"""Gives the transformed rows of raw rows."""


class ComputePlan(SparkFeatureBuilder):  # type: ignore[misc]  # Feast has no types
    """Builds the plan of one task.

    Parameters
    ----------
    run : how the view's transformation is run; None runs it on all rows.
    """

    def __init__(
        self,
        registry: BaseRegistry,
        spark: SparkSession,
        task: MaterializationTask,
        run: RunTransform | None,
    ) -> None:
        super().__init__(registry, spark, task)
        self._run = run

    def build_source_node(self, view: BatchFeatureView) -> DAGNode:
        """Read all rows of the window, whatever ``pull_latest_features`` says."""
        node = _ReadAll(
            f"{view.name}:source",
            view.batch_source,
            self.get_column_info(view),
            self.spark_session,
            self.task.start_time,
            self.task.end_time,
        )
        self.nodes.append(node)
        return node

    def build_transformation_node(
        self, view: BatchFeatureView, input_nodes: Sequence[DAGNode]
    ) -> DAGNode:
        """Run the task's own transformation as it was told."""
        node = super().build_transformation_node(view, input_nodes)
        if self._run is None or view.name != self.feature_view.name:
            return node
        told = _Told(node, self._run)
        self.nodes[-1] = told
        return told

    def build_output_nodes(self, view: BatchFeatureView, input_node: DAGNode) -> DAGNode:
        """Write nothing: the last node is what was computed."""
        return input_node

    def _should_dedupe(self, view: BatchFeatureView) -> bool:
        return False


class _ReadAll(SparkReadNode):  # type: ignore[misc]
    def execute(self, context: ExecutionContext) -> DAGValue:
        info = self.column_info
        job = context.offline_store.pull_all_from_table_or_query(
            config=context.repo_config,
            data_source=self.source,
            join_key_columns=info.join_keys,
            feature_name_columns=info.feature_cols,
            timestamp_field=info.ts_col,
            created_timestamp_column=info.created_ts_col,
            start_date=self.start_time,
            end_date=self.end_time,
        )
        return DAGValue(data=job.to_spark_df(), format=DAGFormat.SPARK)


class _Told(SparkTransformationNode):  # type: ignore[misc]
    def __init__(self, node: SparkTransformationNode, run: RunTransform) -> None:
        super().__init__(node.name, node.udf, inputs=node.inputs, udf_string=node.udf_string)
        self._run = run

    def execute(self, context: ExecutionContext) -> DAGValue:
        transform = self._resolve_udf()
        (raw,) = (value.data for value in self.get_input_values(context))
        return DAGValue(data=self._run(raw, transform), format=DAGFormat.SPARK)
