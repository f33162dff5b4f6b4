"""What matches are computed from: feedback, interests, vectors and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import HistoryConfig, MatchConfig, SailConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.manifest import InputRef, Manifest
from sail_features.match.block import MatchFeature
from sail_features.match.events import event_types_of
from sail_features.match.family import build_features
from sail_features.placebo import Placebo
from sail_features.schemas import USER_INTEREST
from sail_features.spark.inputs import read_told, read_unclicked
from sail_features.spark.match_items import ItemFiles, bucket_items, share_items
from sail_features.spark.match_stream import Past, build_stream
from sail_features.spark.mined import mined_interests
from sail_features.spark.user_events import keep_runs
from sail_features.tables import TableStore


@dataclass(frozen=True)
class MatchSource:
    """All that rows are matched with.

    Parameters
    ----------
    past : what rows may look back on, but for what is kept by user.
    runs : folders of the feedback that is kept by user.
    items : the vectors and categories.
    inputs : the partitions that all this was read from.
    """

    past: Past
    runs: tuple[Path, ...]
    items: ItemFiles
    inputs: tuple[InputRef, ...]

    def features(
        self, config: MatchConfig, edges: tuple[float, ...] | None
    ) -> tuple[MatchFeature, ...]:
        """Return the features that can be computed from this."""
        return build_features(
            config,
            edges,
            categories=self.items.has_categories,
            interests=self.past.interests is not None,
        )


def read_source(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    asked: DataFrame,
    *,
    as_of: datetime,
    since: datetime | None = None,
    placebo: Placebo | None = None,
) -> MatchSource:
    """Read what the rows asked, in [since, as_of), are matched with.

    Raises
    ------
    MissingTableError
        Items were not encoded, or nothing was imported.
    InputError
        The interests are another encoder's.
    """
    encoder_id = build_encoder(config.encoder).encoder_id
    parts = {
        name: store.covering(name, as_of)
        for name in ("items", "events", "impressions", "item_embedding")
    }
    interests = mined_interests(spark, store, encoder_id, as_of)
    if interests is not None:
        parts[USER_INTEREST.name] = store.covering(USER_INTEREST.name, as_of)
    past = _read_past(spark, store, config, parts, since, interests)
    if config.spark.item_vectors == "shared":
        items = share_items(store, config, encoder_id, as_of, placebo)
    else:
        named = [rows for rows in (asked, past.told, past.unclicked) if rows is not None]
        items = bucket_items(spark, store, config, encoder_id, parts, named, placebo)
    runs: tuple[Path, ...] = ()
    if config.spark.keep_user_events:
        types = event_types_of(build_features(config.match))
        runs = keep_runs(spark, store, config, parts["events"], parts["impressions"], types)
        past = Past(None, None, interests)
    return MatchSource(
        past=past,
        runs=runs,
        items=items,
        inputs=tuple(m.as_input() for manifests in parts.values() for m in manifests),
    )


def stream_of(
    asked: DataFrame, source: MatchSource, config: SailConfig, past: Past | None = None
) -> DataFrame:
    """Return rows and what they look back on as the stream that tasks work on."""
    types = event_types_of(source.features(config.match, None))
    return build_stream(asked, past or source.past, types, config.spark.buckets)


def _read_past(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    parts: Mapping[str, Sequence[Manifest]],
    since: datetime | None,
    interests: DataFrame | None,
) -> Past:
    types = bool(config.match.event_types)
    told = read_told(spark, store, parts["events"], types=types)
    unclicked = read_unclicked(spark, store, parts["impressions"], config.history, types=types)
    return Past(
        _within_reach(told, since, config.history),
        None if unclicked is None else _within_reach(unclicked, since, config.history),
        interests,
    )


def _within_reach(events: DataFrame, since: datetime | None, config: HistoryConfig) -> DataFrame:
    """Return the events that a row after ``since`` can look back on."""
    if since is None:
        return events
    oldest = since - config.lag - timedelta(days=config.lookback_days)
    return events.where(f.col(c.EVENT_TIMESTAMP) >= f.lit(oldest))
