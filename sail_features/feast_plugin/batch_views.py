"""What a batch feature view says of itself: where its rows are kept, what they depend on."""

from __future__ import annotations

from typing import Final

from feast import BatchFeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

CONTENT_COLUMNS: Final = "content_columns"
"""Tag of a view: the columns that its transformation looks at, with commas between."""


def sink_of(view: BatchFeatureView) -> SparkSource | None:
    """Return the place of a view's computed rows, or None where it keeps none.

    A view keeps them with ``offline=True``: a view of raw rows where its source has a
    ``path`` beside the ``query`` of what to compute from, a view of other views in its
    ``sink_source``. (A source with a path alone holds the raw rows.)
    """
    source = view.batch_source
    if not view.offline or not isinstance(source, SparkSource) or not source.path:
        return None
    if not source.query and not view.source_views:
        return None
    return SparkSource(
        name=source.name,
        path=source.path,
        file_format=source.file_format,
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )
