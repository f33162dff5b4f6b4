"""Items that Feast itself encodes: a batch feature view whose transformation is our encoder.

For teams whose scheduler runs ``feast materialize`` and nothing else. It needs
`engine.spark_engine` as the ``batch_engine`` and a Spark offline store; with the encode job
(`sail_features.spark.encode`) and `views.item_embedding_view` neither is needed.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from feast import BatchFeatureView, Entity, Field
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Bytes, Int32, String

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import resolve_encoder_config
from sail_features.feast_plugin.batch_views import CONTENT_COLUMNS

_ITEMS: Final = "SELECT {columns}, {known} AS {available_at} FROM parquet.`{items}`"


def encoded_item_view(
    item: Entity, config: SailConfig, *, items: str, sink: Path, name: str = "encoded_item"
) -> BatchFeatureView:
    """Return a view of each item's vector, as float16 bytes, with its dimension and encoder.

    Parameters
    ----------
    item : keyed by ``item_id``.
    config : says which encoder, and which GPUs its tasks ask Spark for.
    items : path or pattern of the Parquet files of the items, as Spark reads it; they
        have ``item_id``, ``event_timestamp`` and what the encoder reads.
    sink : folder for the vectors, on a disk that all machines mount.

    Raises
    ------
    ModelError
        The model can't be found.
    """
    settings, why = resolve_encoder_config(config.encoder)
    resolved = config.model_copy(update={"encoder": settings})
    encoder = build_encoder(settings)
    read = tuple(settings.content_columns)

    def encode(rows: Any) -> Any:
        # Imported here: whoever materializes has the function alone, from the registry.
        from sail_features.spark.encode_rows import encode_rows

        return encode_rows(rows, resolved)

    return BatchFeatureView(
        name=name,
        entities=[item],
        schema=[
            Field(name=c.EMBEDDING, dtype=Bytes),
            Field(name=c.DIM, dtype=Int32),
            Field(name=c.ENCODER_ID, dtype=String),
        ],
        source=SparkSource(
            name=name,
            query=_ITEMS.format(
                columns=", ".join(
                    f"`{column}`" for column in (c.ITEM_ID, c.EVENT_TIMESTAMP, *read)
                ),
                known=_known(encoder.trained_until),
                available_at=c.AVAILABLE_AT,
                items=items,
            ),
            path=str(sink),
            file_format="parquet",
            timestamp_field=c.EVENT_TIMESTAMP,
            created_timestamp_column=c.AVAILABLE_AT,
        ),
        udf=encode,
        udf_string="",
        online=True,
        offline=True,
        description="One vector an item: little-endian float16 bytes, unit length.",
        tags={
            CONTENT_COLUMNS: ",".join(read),
            c.ENCODER_ID: encoder.encoder_id,
            c.DIM: str(encoder.dim),
            "dtype": f"{settings.dtype}: {why}",
        },
    )


def _known(trained_until: datetime | None) -> str:
    """Return SQL of when a vector could first have been known."""
    if trained_until is None:
        return c.EVENT_TIMESTAMP
    return f"greatest({c.EVENT_TIMESTAMP}, TIMESTAMP '{trained_until.isoformat()}')"
