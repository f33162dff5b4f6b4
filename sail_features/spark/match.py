"""The match job: impressions and feedback to ``user_item_match``.

Only ids and times are shuffled, by a hash bucket of the user, one task a bucket
(a task a user would cost 1.5 ms each, `match_facts.md` 1.2). Vectors are read from
the memory-mapped copy of ``item_embedding``. A bucket's ids must fit in a task's
memory: raise ``spark.buckets`` for more users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import FloatType, StructType, TimestampType

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.history import HistoryWindow
from sail_features.item_categories import derive_item_categories, open_item_categories
from sail_features.item_vectors import derive_item_vectors, open_item_vectors
from sail_features.manifest import InputRef, Manifest
from sail_features.match.block import MatchFeature
from sail_features.match.family import build_features, columns_of, feature_set_id
from sail_features.match.frame import compute_match_table, sample_similarities
from sail_features.match.similarity_histogram import fit_edges
from sail_features.schemas import USER_INTEREST, USER_ITEM_MATCH, USER_ITEM_MATCH_PLACEBO
from sail_features.spark.buckets import apply_by_bucket, with_pair
from sail_features.spark.inputs import (
    pairs_to_match,
    read_feedback,
    read_partitions,
    write_partition,
)
from sail_features.spark.mined import mined_interests, only_interests, without_interests
from sail_features.tables import TableStore


@dataclass(frozen=True)
class _Source:
    """What a match is computed from."""

    pairs: DataFrame
    feedback: DataFrame
    vectors: Path
    categories: Path | None
    interests: DataFrame | None
    encoder_id: str
    inputs: tuple[InputRef, ...]


@dataclass(frozen=True)
class _Edges:
    """Edges of the histogram, None for equal bands, and the time that they were fitted until."""

    values: tuple[float, ...] | None = None
    trained_until: datetime | None = None


def run_match(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    since: datetime | None = None,
    fit_until: datetime | None = None,
    placebo_seed: int | None = None,
) -> Manifest:
    """Compute match features of the impressions in [since, as_of).

    Parameters
    ----------
    as_of : exclusive end; also the partition's name.
    since : start; None takes all impressions before ``as_of``.
    fit_until : fit the histogram's edges on impressions before this time, which
        must lie before the ranker's first training row. None keeps the edges of the
        newest earlier partition, so that a nightly run doesn't change the features;
        where there is none, bands are equal.
    placebo_seed : deal the vectors out to other items and write the placebo table.

    Raises
    ------
    MissingTableError
        Items were not encoded, or nothing was imported.
    InputError
        Nothing to fit edges on before ``fit_until``.
    """
    table = (USER_ITEM_MATCH if placebo_seed is None else USER_ITEM_MATCH_PLACEBO).name
    source = _read(spark, store, config, as_of, since, placebo_seed)
    if fit_until is None:
        edges = _earlier_edges(store, table, as_of, source.encoder_id, config.match.histogram_bins)
    else:
        edges = _fit_edges(source, fit_until, config)
    settings = _settings(config, source, edges, placebo_seed)
    with store.replace_partition(
        table, as_of, since=since, inputs=source.inputs, config=settings
    ) as partition:
        features = _build_features(config, source, edges)
        feature_set = feature_set_id(features, config.match.dim)
        matched = _match(source, edges, features, config)
        write_partition(
            matched.withColumn(c.CREATED, f.lit(partition.created))
            .withColumn(c.FEATURE_SET_ID, f.lit(feature_set))
            .withColumn(c.ENCODER_ID, f.lit(source.encoder_id)),
            partition,
        )
        partition.lineage.update(
            encoder_id=source.encoder_id,
            dim=open_item_vectors(source.vectors).dim,
            feature_set_id=feature_set,
            features={feature.name: feature.version for feature in features},
            histogram_bins=config.match.histogram_bins,
            histogram_edges=edges.values,
            trained_until=_iso(edges.trained_until),
            placebo_seed=placebo_seed,
        )
    return store.latest(table, as_of)


def _read(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    as_of: datetime,
    since: datetime | None,
    placebo_seed: int | None,
) -> _Source:
    encoder_id = build_encoder(config.encoder).encoder_id
    parts = {
        name: store.covering(name, as_of)
        for name in ("items", "events", "impressions", "item_embedding")
    }
    impressions = read_partitions(spark, store, parts["impressions"])
    interests = mined_interests(spark, store, encoder_id, as_of)
    if interests is not None:
        parts[USER_INTEREST.name] = store.covering(USER_INTEREST.name, as_of)
    vectors = derive_item_vectors(
        store, encoder_id, as_of, placebo_seed=placebo_seed, dim=config.match.dim
    )
    return _Source(
        pairs=pairs_to_match(impressions, since, config.history),
        feedback=read_feedback(
            spark,
            store,
            parts["events"],
            parts["impressions"],
            config.history,
            types=bool(config.match.event_types),
        ),
        vectors=vectors,
        categories=derive_item_categories(store, vectors, open_item_vectors(vectors), as_of),
        interests=interests,
        encoder_id=encoder_id,
        inputs=tuple(m.as_input() for manifests in parts.values() for m in manifests),
    )


def _settings(
    config: SailConfig, source: _Source, edges: _Edges, placebo_seed: int | None
) -> dict[str, Any]:
    """Return everything beside the inputs that shapes the bytes."""
    return {
        "history": config.history.model_dump(mode="json"),
        "match": config.match.model_dump(mode="json"),
        "buckets": config.spark.buckets,
        "encoder_id": source.encoder_id,
        "histogram_edges": edges.values,
        "trained_until": _iso(edges.trained_until),
        "placebo_seed": placebo_seed,
    }


def _build_features(config: SailConfig, source: _Source, edges: _Edges) -> tuple[MatchFeature, ...]:
    return build_features(
        config.match,
        edges.values,
        categories=source.categories is not None,
        interests=source.interests is not None,
    )


def _match(
    source: _Source, edges: _Edges, features: Sequence[MatchFeature], config: SailConfig
) -> DataFrame:
    """Return the rows of the partition, without their lineage."""
    window = HistoryWindow.from_config(config.history)
    folder, categories = source.vectors, source.categories

    has_interests = source.interests is not None

    def compute(pairs: pa.Table, past: pa.Table) -> pa.Table:
        return compute_match_table(
            pairs,
            without_interests(past) if has_interests else past,
            open_item_vectors(folder),
            features,
            window,
            category=None if categories is None else open_item_categories(categories),
            interests=only_interests(past) if has_interests else None,
        )

    past = source.feedback
    if source.interests is not None:
        past = past.unionByName(source.interests, allowMissingColumns=True)
    out = with_pair(
        source.pairs,
        [(c.AVAILABLE_AT, TimestampType()), (c.FEATURE_TIME, TimestampType())]
        + [(name, FloatType()) for name in columns_of(features)],
    )
    matched = apply_by_bucket(c.USER_ID, source.pairs, past, compute, out, config.spark.buckets)
    if edges.trained_until is not None:
        known = f.greatest(c.AVAILABLE_AT, f.lit(edges.trained_until))
        matched = matched.withColumn(c.AVAILABLE_AT, known)
    return matched.withColumn(c.FEATURES_AVAILABLE_AT, f.col(c.AVAILABLE_AT))


def _earlier_edges(
    store: TableStore, table: str, as_of: datetime, encoder_id: str, bins: int
) -> _Edges:
    """Return the edges that the newest earlier partition was made with."""
    for manifest in reversed(store.manifests(table)):
        lineage = manifest.lineage
        same = lineage["encoder_id"] == encoder_id and lineage["histogram_bins"] == bins
        if manifest.as_of < as_of and same:
            if lineage["histogram_edges"] is None:
                return _Edges()
            until = datetime.fromisoformat(lineage["trained_until"])
            return _Edges(tuple(lineage["histogram_edges"]), until)
    return _Edges()


def _fit_edges(source: _Source, until: datetime, config: SailConfig) -> _Edges:
    """Fit the histogram's edges on the impressions before ``until``."""
    window = HistoryWindow.from_config(config.history)
    folder = source.vectors

    def sample(rows: pa.Table, events: pa.Table) -> pa.Table:
        values, count = sample_similarities(rows, events, open_item_vectors(folder), window)
        return pa.table({"values": [values], "count": [count]})

    early = source.pairs.where(f.col(c.EVENT_TIMESTAMP) < f.lit(until))
    out = StructType.fromDDL("values array<float>, count bigint")
    samples = (
        apply_by_bucket(c.USER_ID, early, source.feedback, sample, out, config.spark.buckets)
        .toArrow()
        .sort_by([("count", "ascending")])
    )
    edges = fit_edges(
        [values.values.to_numpy() for values in samples["values"]],
        samples["count"].to_pylist(),
        config.match.histogram_bins,
    )
    return _Edges(edges, until)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
