"""Mined interests as the match job reads them: beside the feedback of the same users.

Spark groups two data frames at most, so rows of ``user_interest`` travel among those of
the feedback, told apart by a column that only they fill.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.schemas import USER_INTEREST
from sail_features.spark.inputs import read_partitions
from sail_features.tables import TableStore

MARK: Final = c.INTEREST_VECTORS
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


def only_interests(past: pa.Table) -> pa.Table:
    """Return the rows of ``user_interest``."""
    return past.filter(pc.is_valid(past[MARK]))


def without_interests(past: pa.Table) -> pa.Table:
    """Return the feedback."""
    return past.filter(pc.is_null(past[MARK]))
