"""Items to vectors as a transformation of data frames: nothing is kept, each row is encoded.

For whoever sees to it that a content comes once, as Feast's materialization by our engine
does. The encode job (`encode`) knows what is known and keeps its work.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.spark.content_files import CONTENT
from sail_features.spark.contents import describe_contents
from sail_features.spark.encode_task import ENCODED, TaskReports, encode_batches
from sail_features.spark.gpu import encode_profile


def encode_rows(items: DataFrame, config: SailConfig) -> DataFrame:
    """Return item_id, event_timestamp, embedding, dim and encoder_id of each item row.

    Parameters
    ----------
    items : distinct contents, with item_id, event_timestamp and what the encoder reads.
    config : its encoder's dtype is resolved. GPUs are asked for as `SparkConfig` says.

    Notes
    -----
    Rows that can't be encoded are absent from the result. Contents are described twice
    (a text's hash costs nothing; a file is read twice), and encoded once.
    """
    spark, settings = items.sparkSession, config.encoder
    encoder, profile = build_encoder(settings), encode_profile(spark, config.spark)
    reports = spark.sparkContext.accumulator([], TaskReports())

    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return encode_batches(batches, settings, reports)

    described = describe_contents(items, None, settings).where(f.col(c.REASON).isNull())
    contents = described.select(c.CONTENT_HASH, CONTENT).dropDuplicates([c.CONTENT_HASH])
    vectors = contents.mapInArrow(encode, ENCODED, profile=profile)
    return (
        described.select(c.ITEM_ID, c.EVENT_TIMESTAMP, c.CONTENT_HASH)
        .join(vectors.where(f.col(c.EMBEDDING).isNotNull()), c.CONTENT_HASH)
        .select(
            c.ITEM_ID,
            c.EVENT_TIMESTAMP,
            c.EMBEDDING,
            f.lit(encoder.dim).alias(c.DIM),
            f.lit(encoder.encoder_id).alias(c.ENCODER_ID),
        )
    )
