"""Candidate sets get the features that impressions of the same moments get."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import worlds
from worlds import AS_OF, CONFIG, World, at

from sail_features import columns as c
from sail_features.candidates import CandidateSet
from sail_features.errors import InputError, MissingTableError
from sail_features.schemas import USER_ITEM_CANDIDATE, check_table
from sail_features.spark.encode import run_encode
from sail_features.spark.match import run_match
from sail_features.spark.match_candidates import run_match_candidates
from sail_features.tables import TableStore

TABLE = USER_ITEM_CANDIDATE.name
MADE = (c.CREATED,)
"""The columns in which the two tables may differ."""


@pytest.fixture(scope="module")
def world() -> World:
    return worlds.random_world(3)


@pytest.fixture(scope="module")
def matched(spark, world, tmp_path_factory) -> TableStore:
    """Return a store whose impressions are matched, with fitted edges."""
    store = TableStore(tmp_path_factory.mktemp("candidates"))
    world.publish(store)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    run_match(spark, store, CONFIG, as_of=AS_OF, fit_until=at(8))
    return store


def candidates(store: TableStore, table: pa.Table, path) -> CandidateSet:
    pq.write_table(table, path)
    return CandidateSet.open(path, store, AS_OF)


def rows(table: pa.Table) -> list[dict[str, object]]:
    """Return the rows in the order of their keys, without what may differ."""
    ordered = table.sort_by([(name, "ascending") for name in c.PAIR])
    return ordered.select([name for name in ordered.column_names if name not in MADE]).to_pylist()


def test_candidates_at_the_moments_of_impressions_get_their_bits(spark, world, matched, tmp_path):
    expected = matched.read("user_item_match")
    given = pa.concat_tables([expected.select(list(c.PAIR))] * 2)
    asked = candidates(matched, given, tmp_path / "timed.parquet")
    for buckets in (1, 2, 16):
        manifest = run_match_candidates(spark, matched, worlds.with_buckets(buckets), asked)
        found = matched.read(TABLE)
        check_table(found, USER_ITEM_CANDIDATE, where="candidates")
        assert rows(found) == rows(expected)
    trained_on = matched.latest("user_item_match")
    for key in ("feature_set_id", "histogram_edges", "trained_until", "encoder_id"):
        assert manifest.lineage[key] == trained_on.lineage[key]
    assert {"user_item_match", str(asked.path)} <= {ref.table for ref in manifest.inputs}


def test_candidates_without_a_moment_are_as_of_the_job(spark, world, matched, tmp_path):
    """Twice the same pairs: as of the job's end by default, and said in so many words."""
    people = pa.array(["2", "3", "nobody"])
    pairs = pa.table({c.USER_ID: people, c.ITEM_ID: pa.array(["1", "18", "2"])})
    timed = pairs.append_column(c.EVENT_TIMESTAMP, pa.array([AS_OF] * 3))
    found = []
    for number, given in enumerate((pairs, timed)):
        asked = candidates(matched, given, tmp_path / f"{number}.parquet")
        run_match_candidates(spark, matched, CONFIG, asked)
        found.append(matched.read(TABLE))
    assert rows(found[0]) == rows(found[1])
    told = rows(found[0])
    assert [row[c.EVENT_TIMESTAMP] for row in told] == [AS_OF] * 3
    assert [row["history_count"] for row in told if row[c.USER_ID] == "nobody"] == [0]
    assert all(row["history_count"] is None for row in told if row[c.ITEM_ID] == "18")


def test_training_table_stays_as_it_was(spark, matched, tmp_path):
    before = matched.latest("user_item_match").fingerprint
    pairs = pa.table({c.USER_ID: ["2"], c.ITEM_ID: ["1"]})
    run_match_candidates(spark, matched, CONFIG, candidates(matched, pairs, tmp_path / "a.parquet"))
    assert matched.latest("user_item_match").fingerprint == before


def test_other_settings_than_the_rankers_are_refused(spark, matched, tmp_path):
    pairs = pa.table({c.USER_ID: ["2"], c.ITEM_ID: ["1"]})
    asked = candidates(matched, pairs, tmp_path / "a.parquet")
    history = CONFIG.history.model_copy(update={"max_events": 3})
    config = CONFIG.model_copy(update={"history": history})
    with pytest.raises(InputError, match="with other history: a ranker trained on it"):
        run_match_candidates(spark, matched, config, asked)


def test_nothing_matched_names_the_command(spark, world, store, tmp_path):
    world.publish(store)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    pairs = pa.table({c.USER_ID: ["2"], c.ITEM_ID: ["1"]})
    with pytest.raises(MissingTableError, match="sail-features match"):
        run_match_candidates(spark, store, CONFIG, candidates(store, pairs, tmp_path / "a.parquet"))
