"""The newest row of each key, without a sort: what comes first is dropped before the shuffle."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f


def newest_by_key(
    rows: DataFrame, columns: Sequence[Column], keys: Sequence[Column], newness: Sequence[Column]
) -> DataFrame:
    """Return ``columns`` of the row of each key with the greatest ``newness``.

    Parameters
    ----------
    keys : without any, all rows are of one key.
    newness : compared one after the other; null comes before all else.
    """
    newest = f.max_by(f.struct(*columns), f.struct(*newness)).alias("newest")
    return rows.groupBy(*keys).agg(newest).where("newest IS NOT NULL").select("newest.*")
