"""The match job for candidate sets: users x items that nobody was shown yet.

A scheduled batch scores the candidates of all users at once, in mail or for a cache. Its
features must be those that the ranker was trained on, so everything but the pairs and
their moment is taken from the newest ``user_item_match`` (decision 0017).
"""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.candidates import CandidateSet
from sail_features.config import SailConfig
from sail_features.errors import InputError
from sail_features.manifest import Manifest
from sail_features.match.family import feature_set_id
from sail_features.schemas import USER_ITEM_CANDIDATE, USER_ITEM_MATCH
from sail_features.spark.inputs import spark_path
from sail_features.spark.match import settings_of, write_features
from sail_features.spark.match_edges import Edges
from sail_features.spark.match_source import read_source
from sail_features.tables import TableStore, format_as_of


def run_match_candidates(
    spark: SparkSession, store: TableStore, config: SailConfig, candidates: CandidateSet
) -> Manifest:
    """Compute match features of candidates, as of their moment, into ``user_item_candidate``.

    A pair sees the events strictly before its moment, and no lag is taken off it. One
    partition an ``as_of``: another candidate set of the same moment replaces it.

    Raises
    ------
    MissingTableError
        Items were not encoded, nothing was imported, or no impressions were matched.
    InputError
        The features would not be those of the newest ``user_item_match``.
    """
    table, as_of = USER_ITEM_CANDIDATE.name, candidates.as_of
    trained_on = store.latest(USER_ITEM_MATCH.name, as_of)
    asked = _asked(spark, candidates)
    source = read_source(spark, store, config, asked, as_of=as_of)
    edges = Edges.of(trained_on)
    features = source.features(config.match, edges.values)
    settings = settings_of(config, source, edges)
    feature_set = feature_set_id(features, config.match.dim)
    _check_same(trained_on, settings, feature_set)
    inputs = (*source.inputs, trained_on.as_input(), candidates.as_input())
    with store.replace_partition(table, as_of, inputs=inputs, config=settings) as partition:
        write_features(asked, source, edges, features, config, partition)
    source.items.discard()
    return store.latest(table, as_of)


def _asked(spark: SparkSession, candidates: CandidateSet) -> DataFrame:
    pairs = spark.read.parquet(*map(spark_path, candidates.files))
    moment = f.col(c.EVENT_TIMESTAMP) if candidates.timed else f.lit(candidates.as_of)
    return pairs.select(c.USER_ID, c.ITEM_ID, moment.cast("timestamp").alias(c.EVENT_TIMESTAMP))


def _check_same(trained_on: Manifest, settings: dict[str, object], feature_set: str) -> None:
    """Raise where a ranker that was trained on a partition can't read these features."""
    differ = [
        name
        for name in ("encoder_id", "history", "match")
        if trained_on.config[name] != settings[name]
    ]
    if trained_on.lineage["feature_set_id"] != feature_set:
        differ.append("features")
    if differ:
        raise InputError.say(
            f"match --candidates, {USER_ITEM_MATCH.name} of {format_as_of(trained_on.as_of)}",
            f"was computed with other {', '.join(differ)}: a ranker trained on it can't use these",
            hint="run `sail-features match` first, or put sail.yaml back as it was",
        )
