"""The match job: impressions and feedback to ``user_item_match``.

Only ids, times and weights are shuffled, by a hash bucket of the user, one task a bucket
(a task a user would cost 1.5 ms each, `match_facts.md` 1.2). A bucket is streamed in
blocks, so that no number of rows, users or events of one user is too many for a worker
(decision 0017). Vectors are read from the memory-mapped copy of ``item_embedding``,
which the workers of a machine share.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession

from sail_features.config import SailConfig
from sail_features.derived import prune_derived
from sail_features.errors import ConfigError
from sail_features.history import HistoryCut, HistoryWindow
from sail_features.manifest import Manifest
from sail_features.match.block import MatchFeature
from sail_features.match.family import feature_set_id
from sail_features.placebo import Placebo
from sail_features.schemas import (
    USER_ITEM_MATCH,
    USER_ITEM_MATCH_LAGGED,
    USER_ITEM_MATCH_PLACEBO,
    USER_ITEM_MATCH_RANDOM,
)
from sail_features.spark.inputs import read_partitions, rows_to_match
from sail_features.spark.match_edges import Edges, earlier_edges, fit_on_early_rows
from sail_features.spark.match_source import MatchSource, read_source, stream_of
from sail_features.spark.match_task import MatchTask, RowLineage, write_matches
from sail_features.tables import StagedPartition, TableStore

WHOLE: Final = HistoryCut()


def run_match(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    since: datetime | None = None,
    fit_until: datetime | None = None,
    placebo: Placebo | None = None,
    cut: HistoryCut = WHOLE,
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
    placebo : give items vectors that aren't theirs, and write that arm's own table.
    cut : what histories do without; anything writes the table of the lagged arm, whose rows
        are stamped as the others are.

    Raises
    ------
    MissingTableError
        Items were not encoded, or nothing was imported.
    InputError
        Nothing to fit edges on before ``fit_until``.
    ConfigError
        Both ``placebo`` and ``cut``.
    """
    table = _table_of(placebo, cut)
    config = _cut_earlier(config, cut.delay)
    impressions = read_partitions(spark, store, store.covering("impressions", as_of))
    asked = rows_to_match(impressions, since, config.history)
    source = read_source(spark, store, config, asked, as_of=as_of, since=since, placebo=placebo)
    bins = config.match.histogram_bins
    if fit_until is None:
        edges = earlier_edges(store, table, as_of, source.items.encoder_id, bins)
    else:
        edges = fit_on_early_rows(fit_until - cut.delay, asked, source, config)
    made = {
        "placebo": None if placebo is None else asdict(placebo),
        "delay_s": cut.delay.total_seconds(),
        "skip_newest": cut.newest,
    }
    settings = settings_of(config, source, edges) | made
    with store.replace_partition(
        table, as_of, since=since, inputs=source.inputs, config=settings
    ) as partition:
        features = source.features(config.match, edges.values)
        write_features(asked, source, edges, features, config, partition, cut)
        partition.lineage.update(made)
    source.items.discard()
    prune_derived(store.root)
    return store.latest(table, as_of)


def settings_of(config: SailConfig, source: MatchSource, edges: Edges) -> dict[str, Any]:
    """Return everything beside the inputs that shapes the bytes."""
    return {
        "history": config.history.model_dump(mode="json"),
        "match": config.match.model_dump(mode="json"),
        "buckets": config.spark.buckets,
        "keep_user_events": config.spark.keep_user_events,
        "encoder_id": source.items.encoder_id,
        "histogram_edges": edges.values,
        "trained_until": _iso(edges.trained_until),
    }


def write_features(
    asked: DataFrame,
    source: MatchSource,
    edges: Edges,
    features: tuple[MatchFeature, ...],
    config: SailConfig,
    partition: StagedPartition,
    cut: HistoryCut = WHOLE,
) -> None:
    """Compute the features of the rows asked into a staged partition, and state their lineage.

    Parameters
    ----------
    cut : what the rows' histories do without; the rows asked are earlier by its delay, and
        written with their own stamps.
    """
    feature_set = feature_set_id(features, config.match.dim)
    task = MatchTask(
        source.items,
        source.runs,
        features,
        replace(HistoryWindow.from_config(config.history), skip_newest=cut.newest),
        RowLineage(
            partition.created, feature_set, source.items.encoder_id, edges.trained_until, cut.delay
        ),
        partition.folder,
    )
    write_matches(stream_of(asked, source, config), task, partition)
    partition.lineage.update(
        encoder_id=source.items.encoder_id,
        dim=source.items.dim,
        feature_set_id=feature_set,
        features={feature.name: feature.version for feature in features},
        histogram_bins=config.match.histogram_bins,
        histogram_edges=edges.values,
        trained_until=_iso(edges.trained_until),
    )


def _table_of(placebo: Placebo | None, cut: HistoryCut) -> str:
    if placebo is not None and cut:
        raise ConfigError.say(
            "match",
            "a placebo's vectors and a cut history at once",
            hint="make the arms one after the other, each from the real thing",
        )
    if placebo is None:
        return (USER_ITEM_MATCH_LAGGED if cut else USER_ITEM_MATCH).name
    return {"permuted": USER_ITEM_MATCH_PLACEBO, "random": USER_ITEM_MATCH_RANDOM}[
        placebo.kind
    ].name


def _cut_earlier(config: SailConfig, delay: timedelta) -> SailConfig:
    lag_s = config.history.lag_s + delay.total_seconds()
    history = config.history.model_copy(update={"lag_s": lag_s})
    return config.model_copy(update={"history": history})


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
