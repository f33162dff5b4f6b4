"""Edges of the histogram: fitted on early impressions, or those of an earlier partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.history import HistoryWindow
from sail_features.manifest import Manifest
from sail_features.match.similarity_histogram import fit_edges
from sail_features.spark.match_source import MatchSource, stream_of
from sail_features.spark.match_task import COUNTED, CountTask
from sail_features.tables import TableStore


@dataclass(frozen=True)
class Edges:
    """Edges of the histogram, None for equal bands, and the time that they were fitted until."""

    values: tuple[float, ...] | None = None
    trained_until: datetime | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return the edges that a partition was made with."""
        lineage = manifest.lineage
        if lineage["histogram_edges"] is None:
            return cls()
        until = datetime.fromisoformat(lineage["trained_until"])
        return cls(tuple(lineage["histogram_edges"]), until)


def earlier_edges(
    store: TableStore, table: str, as_of: datetime, encoder_id: str, bins: int
) -> Edges:
    """Return the edges that the newest earlier partition was made with; equal bands if none."""
    for manifest in reversed(store.manifests(table)):
        lineage = manifest.lineage
        same = lineage["encoder_id"] == encoder_id and lineage["histogram_bins"] == bins
        if manifest.as_of < as_of and same:
            return Edges.of(manifest)
    return Edges()


def fit_on_early_rows(
    until: datetime, asked: DataFrame, source: MatchSource, config: SailConfig
) -> Edges:
    """Fit the edges on the rows before ``until``, the same under any number of buckets.

    Raises
    ------
    InputError
        Nobody had liked an item by then.
    """
    early = asked.where(f.col(c.EVENT_TIMESTAMP) < f.lit(until))
    stream = stream_of(early, source, config, source.past.before(until))
    task = CountTask(source.items, source.runs, HistoryWindow.from_config(config.history))
    parts = stream.mapInArrow(task, COUNTED).toArrow()["counts"]
    counts = np.sum([part.values.to_numpy() for part in parts], axis=0)
    return Edges(fit_edges(counts, config.match.histogram_bins), until)
