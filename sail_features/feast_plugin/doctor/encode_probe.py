"""A probe of what is computed: an expensive transformation runs once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sail_features.feast_plugin.doctor.workspace import ITEM, ProbeStore, at, stamped


def encoded_once(store: ProbeStore) -> str | None:
    """Encode once: Spark computes a batch view's content once, whether online, offline or again."""
    if not store.has_spark_engine:
        return None  # nothing that Spark computes
    log = store.folder / "encoded"
    log.mkdir()
    store.declare_computed("lengths", [ITEM], [stamped(1, item_id="1", text="tea")], _encoder(log))
    store.feast.materialize(at(0), at(2), feature_views=["lengths"])
    first = len(list(log.iterdir()))
    store.feast.materialize(at(0), at(2), feature_views=["lengths"])
    again = len(list(log.iterdir())) - first
    joined = store.join([{"item_id": "1", "event_timestamp": at(3)}], "lengths:length")
    if (first, again, len(joined)) != (1, 0, 1):
        return (
            f"one content was encoded {first} times, {again} times when repeated, and is "
            f"joined {len(joined)} times; expected 1, 0, 1"
        )
    return None


def _encoder(log: Path) -> Any:
    """Return an encoder that leaves a file in ``log`` for each batch that it encodes."""
    folder = str(log)

    def encode(items: Any) -> Any:
        def encode_batches(batches: Iterator[Any]) -> Iterator[Any]:
            import uuid
            from pathlib import Path

            import pyarrow as pa

            for batch in batches:
                texts = batch.column("text").to_pylist()
                (Path(folder) / uuid.uuid4().hex).write_text("\n".join(texts))
                lengths = pa.array([len(text) for text in texts], pa.int64())
                yield batch.append_column("length", lengths)

        from pyspark.sql.types import LongType, StructField, StructType

        schema = StructType([*items.schema.fields, StructField("length", LongType())])
        return items.mapInArrow(encode_batches, schema)

    return encode
