"""The global clusters of a run: those of the newest earlier rows, or fitted up to a time.

Fitted once and kept beside the tables under their version, with which each partition's
manifest names them, so that a night's run changes no cluster's meaning. Where the file is
gone, the same clusters are fitted again from what the first fit saw.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import ClusterConfig
from sail_features.derived import DERIVED, mark_used
from sail_features.embeddings import EmbeddingTable
from sail_features.errors import InputError
from sail_features.history import ids_of, to_us
from sail_features.interests.global_clusters import (
    GlobalClusters,
    check_enough_items,
    fit_global_clusters,
)
from sail_features.item_vectors import build_embedding_table, open_item_vectors
from sail_features.manifest import sha256_of
from sail_features.schemas import ITEM_EMBEDDING, TIMESTAMP, USER_CLUSTER
from sail_features.spark.inputs import read_told
from sail_features.tables import TableStore, format_as_of

FITTED_WITH: Final = ("primary", "secondary", "seed", "tail_share")
"""The settings of `ClusterConfig` that shape clusters; the others shape histograms."""


@dataclass(frozen=True)
class Fit:
    """Which clusters: fitted on what was known before ``until``, read from tables of ``as_of``.

    ``version`` is theirs, None where they were never fitted.
    """

    encoder_id: str
    config: ClusterConfig
    until: datetime
    as_of: datetime
    version: str | None = None


def choose_fit(
    store: TableStore,
    encoder_id: str,
    config: ClusterConfig,
    *,
    as_of: datetime,
    since: datetime | None,
    fit_until: datetime | None,
) -> Fit:
    """Return the fit asked for, else that of the newest earlier partition, else one at ``as_of``.

    Parameters
    ----------
    since : the earlier partition is the one that ends there. None: any before ``as_of``.

    Raises
    ------
    InputError
        ``fit_until`` lies after ``as_of``, or would change the clusters at ``since``.
    """
    if fit_until is not None:
        _check_until(fit_until, as_of, since)
        return Fit(encoder_id, config, fit_until, as_of)
    shape = {c.ENCODER_ID: encoder_id, **config.model_dump(include=set(FITTED_WITH))}
    for manifest in reversed(store.manifests(USER_CLUSTER.name)):
        earlier = manifest.as_of < as_of if since is None else manifest.as_of == since
        lineage = manifest.lineage
        if earlier and shape.items() <= lineage.items():
            until, read = (
                datetime.fromisoformat(lineage[name]) for name in ("trained_until", "fitted_as_of")
            )
            return Fit(encoder_id, config, until, read, lineage[c.CLUSTER_VERSION])
    return Fit(encoder_id, config, until=as_of, as_of=as_of)


def _check_until(fit_until: datetime, as_of: datetime, since: datetime | None) -> None:
    where = f"clusters --fit-until {format_as_of(fit_until)}"
    if since is not None:
        raise InputError.say(
            where,
            f"would change the clusters that --since {format_as_of(since)} goes on with",
            hint="leave out one of the two",
        )
    if fit_until > as_of:
        raise InputError.say(
            where,
            f"is after --as-of {format_as_of(as_of)}, where the data ends",
            hint="give an earlier time, or leave it out",
        )


def keep_clusters(spark: SparkSession, store: TableStore, fit: Fit) -> Path:
    """Return the file of the clusters, fitted where it isn't there.

    Raises
    ------
    InputError
        Too few items or no likes to fit on; or the clusters of earlier rows are gone, and
        what they were fitted on has changed since.
    """
    if fit.version is not None and _path(store, fit.version).is_file():
        return mark_used(_path(store, fit.version))
    known = _known_vectors(store, fit)
    likes = _count_likes(read_liked(spark, store, fit.as_of), known, fit.until)
    clusters = fit_global_clusters(known, likes, fit.config, trained_until_us=to_us(fit.until))
    if fit.version not in (None, clusters.version):
        raise InputError.say(
            f"clusters {fit.version} of the newest {USER_CLUSTER.name}",
            f"aren't at {_path(store, str(fit.version))}, and fitted again they are others: items "
            "or events of before then were written again",
            hint="fit new ones for all rows: run with --fit-until and without --since",
        )
    return _write(_path(store, clusters.version), clusters.save)


def keep_item_clusters(store: TableStore, vectors: Path, clusters: GlobalClusters) -> Path:
    """Return the file of each item's secondary cluster, in the order of a folder of vectors."""
    key = sha256_of([vectors.name, clusters.version])[:16]
    path = store.root / DERIVED / f"item_clusters-{key}.npy"
    if path.is_file():
        return mark_used(path)
    code = clusters.assign(open_item_vectors(vectors))
    return _write(path, lambda unfinished: np.save(unfinished, code, allow_pickle=False))


def read_liked(spark: SparkSession, store: TableStore, as_of: datetime) -> DataFrame:
    """Return who liked what and when; what was shown and passed over is no like."""
    told = read_told(spark, store, store.covering("events", as_of))
    return told.where(f.col(c.WEIGHT) > 0).drop(c.WEIGHT)


def _known_vectors(store: TableStore, fit: Fit) -> EmbeddingTable:
    """Return the newest vector of each item that was known in time; later content isn't seen."""
    rows = store.read(ITEM_EMBEDDING.name, fit.as_of)
    known = rows.filter(
        pc.and_(
            pc.less(rows[c.AVAILABLE_AT], pa.scalar(fit.until, TIMESTAMP)),
            pc.equal(rows[c.ENCODER_ID], fit.encoder_id),
        )
    )
    check_enough_items(pc.count_distinct(known[c.ITEM_ID]).as_py(), fit.config)
    return build_embedding_table(known, fit.encoder_id)


def _count_likes(liked: DataFrame, known: EmbeddingTable, until: datetime) -> NDArray[np.int64]:
    """Return how often each known item was liked before a time, shape (items,)."""
    early = liked.where(f.col(c.EVENT_TIMESTAMP) < f.lit(until))
    counted = early.groupBy(c.ITEM_ID).agg(f.count(f.lit(1)).alias("likes")).toArrow()
    row = known.rows_of(ids_of(counted[c.ITEM_ID]))
    likes = np.zeros(len(known), np.int64)
    likes[row[row >= 0]] = counted["likes"].to_numpy()[row >= 0]
    return likes


def _path(store: TableStore, version: str) -> Path:
    return store.root / DERIVED / f"global_clusters-{version}.npz"


def _write(path: Path, save: Callable[[Path], None]) -> Path:
    """Write a file under another name, then give it its own: it is whole, or isn't there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{os.getpid()}.{path.name}")
    save(unfinished)
    unfinished.rename(path)
    return path
