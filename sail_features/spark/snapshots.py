"""What jobs share that keep a table of changes by user: going on, reach, one task a bucket.

Such a table gets a row each time what is known of a user changes, and the row holds until
the next one (`interests/changes.py`). Only ids and times are shuffled, by a hash bucket of
the user; vectors come from the memory-mapped copy of ``item_embedding``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import StructType

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.history import MICROSECOND, to_us
from sail_features.interests.changes import ALWAYS_US, SnapshotTimes, find_changed_vectors
from sail_features.item_vectors import derive_item_vectors, open_item_vectors
from sail_features.manifest import InputRef
from sail_features.tables import MADE_BY, TableStore, format_as_of


def snapshot_times(
    as_of: datetime, since: datetime | None, every: timedelta | None
) -> SnapshotTimes:
    """Return the moments of a run: ``as_of``, and every so often before it, after ``since``."""
    return SnapshotTimes(
        as_of_us=to_us(as_of),
        every_us=every // MICROSECOND if every else ALWAYS_US,
        since_us=to_us(since) if since else None,
    )


def check_goes_on(
    store: TableStore,
    table: str,
    since: datetime | None,
    as_of: datetime,
    settings: Mapping[str, Any],
    inputs: Sequence[InputRef],
) -> None:
    """Raise `InputError` where the rows until ``since`` rest on other inputs or settings."""
    if since is None:
        return
    where = f"{MADE_BY[table]} --since {format_as_of(since)}"
    complete = {manifest.as_of: manifest for manifest in store.manifests(table)}
    earlier = complete.get(since)
    if since >= as_of:
        problem = f"isn't before --as-of {format_as_of(as_of)}"
    elif earlier is None:
        ends = ", ".join(format_as_of(end) for end in complete) or "nowhere"
        problem = f"no snapshots end there; those that exist end at {ends}"
    elif any(earlier.config[name] != value for name, value in settings.items()):
        problem = "the snapshots until then were made with other settings"
    elif not set(earlier.inputs) <= set(inputs):
        again = sorted({ref.table for ref in set(earlier.inputs) - set(inputs)})
        problem = f"{', '.join(again)} of before then were written again"
    else:
        return
    raise InputError.say(where, problem, hint="run without --since, or give another one")


def vectors_and_changes(
    store: TableStore, encoder_id: str, as_of: datetime, since: datetime | None
) -> tuple[Path, NDArray[np.bool_] | None]:
    """Return the folder of the items' vectors, and which of them the run before didn't have."""
    folder = derive_item_vectors(store, encoder_id, as_of)
    if since is None:
        return folder, None
    before = open_item_vectors(derive_item_vectors(store, encoder_id, since))
    return folder, find_changed_vectors(before, open_item_vectors(folder))


def within_reach(
    feedback: DataFrame, as_of: datetime, since: datetime | None, lookback_days: float
) -> DataFrame:
    """Return the events that a snapshot after ``since``, or the one at it, may see."""
    seen = feedback.where(f.col(c.EVENT_TIMESTAMP) < f.lit(as_of))
    if since is None:
        return seen
    first = since - timedelta(days=lookback_days)
    return seen.where(f.col(c.EVENT_TIMESTAMP) >= f.lit(first))


def by_bucket(
    feedback: DataFrame,
    make: Callable[[pa.Table], Iterator[pa.Table]],
    schema: StructType,
    buckets: int,
) -> DataFrame:
    """Return what ``make`` gives for each bucket of users; its ids must fit in a task's memory."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numba.set_num_threads(1)  # a task is one core
        for found in make(pa.Table.from_batches(batches)):
            yield from found.to_batches()

    bucket = f.pmod(f.xxhash64(c.USER_ID), f.lit(buckets)).cast("int").alias("bucket")
    return feedback.groupBy(bucket).applyInArrow(run, schema)
