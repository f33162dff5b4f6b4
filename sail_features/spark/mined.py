"""Mined interests as the match job reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pyspark.sql import DataFrame, SparkSession

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.schemas import USER_INTEREST
from sail_features.spark.inputs import read_partitions
from sail_features.tables import TableStore

READ: Final = (
    c.USER_ID,
    c.EVENT_TIMESTAMP,
    c.AVAILABLE_AT,
    c.INTEREST_VECTORS,
    c.INTEREST_WEIGHTS,
    c.INTEREST_SIZES,
    c.INTEREST_TIMES,
    c.INTEREST_FEEDBACK,
    c.DIM,
)


def mined_interests(
    spark: SparkSession, store: TableStore, encoder_id: str, as_of: datetime
) -> DataFrame | None:
    """Return the interests mined before ``as_of``; None where nobody mined any.

    Raises
    ------
    MissingTableError
        A part of them is missing.
    InputError
        They were mined from the vectors of another encoder.
    """
    if not any(m.as_of <= as_of for m in store.manifests(USER_INTEREST.name)):
        return None
    parts = store.covering(USER_INTEREST.name, as_of)
    others = {m.lineage["encoder_id"] for m in parts} - {encoder_id}
    if others:
        raise InputError.say(
            USER_INTEREST.name,
            f"was mined from vectors of {', '.join(sorted(others))}, not of {encoder_id}",
            hint="run `sail-features interests` again, or remove the table",
        )
    return read_partitions(spark, store, parts).select(*READ)
