"""The match job against the numpy path and against a double loop, row by row."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import worlds
from worlds import AS_OF, CONFIG, World, at

from sail_features import columns as c
from sail_features.errors import ConfigError, InputError, MissingTableError
from sail_features.history import HistoryCut, HistoryWindow, to_us
from sail_features.item_categories import categories_of
from sail_features.item_vectors import build_embedding_table
from sail_features.match.family import build_features, columns_of, feature_set_id
from sail_features.match.frame import compute_match_table
from sail_features.placebo import Placebo
from sail_features.schemas import USER_ITEM_MATCH, check_table
from sail_features.spark.encode import run_encode
from sail_features.spark.inputs import read_feedback
from sail_features.spark.interests import run_interests
from sail_features.spark.match import run_match
from sail_features.tables import TableStore
from sail_features.testing.oracles import naive_history, naive_match

TABLE = "user_item_match"
FEATURES = build_features(CONFIG.match, categories=True)
COLUMNS = columns_of(FEATURES)
WINDOW = HistoryWindow.from_config(CONFIG.history)
FIT_UNTIL = at(8)
UNCLICKED = CONFIG.history.unclicked_weight


@pytest.fixture(scope="module", params=[(str, 0), (int, 1)], ids=["string ids", "integer ids"])
def world(request) -> World:
    ids, seed = request.param
    return worlds.random_world(seed, ids=ids)


@pytest.fixture(scope="module")
def encoded(spark, world, tmp_path_factory) -> TableStore:
    """Return a store of the world and its vectors, which the tests add match tables to."""
    store = TableStore(tmp_path_factory.mktemp("match"))
    world.publish(store)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    return store


def true_categories(world: World) -> dict[object, str]:
    """Return the category of each item that has one; a world's items have one row each."""
    rows = world.items.to_pylist()
    return {row[c.ITEM_ID]: row[c.CATEGORY] for row in rows if row[c.CATEGORY] is not None}


def found_rows(store, table=TABLE, as_of=None):
    """Return each row's features, missing ones as NaN."""
    return {
        pair: [math.nan if row[name] is None else row[name] for name in COLUMNS]
        for pair, row in worlds.rows_by_pair(store.read(table, as_of)).items()
    }


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for pair, values in expected.items():
        np.testing.assert_allclose(found[pair], values, err_msg=str(pair), **tolerance)


def test_spark_numpy_and_a_double_loop_agree_under_any_buckets(spark, world, encoded):
    vectors = build_embedding_table(encoded.read("item_embedding"), "hash-v1-32")
    pairs = worlds.true_pairs(world, CONFIG.history)
    told = worlds.true_feedback(world, CONFIG.history)
    known = dict(zip(vectors.ids.tolist(), vectors.take(np.arange(len(vectors))), strict=True))
    category = true_categories(world)
    values = naive_match(pairs, told, known, FEATURES, WINDOW, category=category)
    naive = dict(zip(pairs, values, strict=True))
    ids = world.items.schema.field(c.ITEM_ID).type
    asked, feedback = worlds.pair_table(pairs, ids), worlds.pair_table(told, ids)
    straight = compute_match_table(
        asked,
        feedback,
        vectors,
        FEATURES,
        WINDOW,
        category=categories_of(world.items, vectors),
    )
    expected = worlds.rows_by_pair(straight)
    for buckets in (1, 2, 16):
        run_match(spark, encoded, worlds.with_buckets(buckets), as_of=AS_OF)
        assert_same(found_rows(encoded), naive, rtol=1e-3, atol=1e-5)
        rows = worlds.rows_by_pair(encoded.read(TABLE))
        for pair, row in expected.items():
            for name in (*COLUMNS, c.AVAILABLE_AT, c.FEATURE_TIME):
                assert rows[pair][name] == row[name], (pair, name)


def test_world_is_hard_enough(world):
    """Rows with full, empty and cut histories, targets without a vector, ties in time."""
    told = worlds.true_feedback(world, CONFIG.history)
    lengths = [
        len(naive_history(pair.user, pair.as_of_us, told, WINDOW))
        for pair in worlds.true_pairs(world, CONFIG.history)
    ]
    assert min(lengths) == 0
    assert max(lengths) == WINDOW.max_events
    assert len({event[:3] for event in told}) < len(told)
    assert any(event.weight == CONFIG.history.unclicked_weight for event in told)


def test_rows_carry_their_times_and_lineage(spark, world, encoded):
    manifest = run_match(spark, encoded, CONFIG, as_of=AS_OF)
    table = encoded.read(TABLE)
    check_table(table, USER_ITEM_MATCH, where="match")
    assert manifest.rows == table.num_rows == len(worlds.true_pairs(world, CONFIG.history))
    assert set(table[c.FEATURE_SET_ID].to_pylist()) == {manifest.lineage["feature_set_id"]}
    assert set(table[c.ENCODER_ID].to_pylist()) == {"hash-v1-32"}
    assert set(table[c.CREATED].to_pylist()) == {manifest.created}
    for row in table.to_pylist():
        assert row[c.FEATURE_TIME] is None or row[c.FEATURE_TIME] < row[c.EVENT_TIMESTAMP]
        assert row[c.AVAILABLE_AT] >= row[c.EVENT_TIMESTAMP]


def test_running_again_writes_the_same_bytes(spark, encoded):
    first = run_match(spark, encoded, CONFIG, as_of=AS_OF, fit_until=FIT_UNTIL)
    again = run_match(spark, encoded, CONFIG, as_of=AS_OF, fit_until=FIT_UNTIL)
    assert (again.fingerprint, again.created) == (first.fingerprint, first.created)
    assert again.run_key == first.run_key


def test_fitted_edges_make_rows_known_no_earlier_than_the_fit(spark, encoded):
    manifest = run_match(spark, encoded, CONFIG, as_of=AS_OF, fit_until=FIT_UNTIL)
    assert manifest.lineage["histogram_edges"]
    assert manifest.lineage["trained_until"] == FIT_UNTIL.isoformat()
    assert min(encoded.read(TABLE)[c.AVAILABLE_AT].to_pylist()) >= FIT_UNTIL


def test_edges_are_quantiles_of_the_early_rows_under_any_buckets(spark, world, encoded):
    until = to_us(FIT_UNTIL)
    vectors = build_embedding_table(encoded.read("item_embedding"), "hash-v1-32")
    known = dict(zip(vectors.ids.tolist(), vectors.take(np.arange(len(vectors))), strict=True))
    told = worlds.true_feedback(world, CONFIG.history)
    seen = [
        known[row.item] @ known[event.item]
        for row in worlds.true_pairs(world, CONFIG.history)
        if row.as_of_us < until and row.item in known
        for event in naive_history(row.user, row.as_of_us, told, WINDOW)
        if event.weight > 0 and event.item in known
    ]
    shares = np.arange(1, CONFIG.match.histogram_bins) / CONFIG.match.histogram_bins
    expected = np.quantile(seen, shares, method="inverted_cdf")
    found = []
    for buckets in (1, 5, 16):
        config = worlds.with_buckets(buckets)
        manifest = run_match(spark, encoded, config, as_of=AS_OF, fit_until=FIT_UNTIL)
        found.append(manifest.lineage["histogram_edges"])
    assert found[0] == found[1] == found[2]
    np.testing.assert_allclose(found[0], np.unique(expected.round(4)), atol=1e-4)


def test_later_events_do_not_move_the_edges(spark, world, encoded, tmp_path):
    """Edges are fitted on rows before the fit's end, which see only what came before them."""
    manifest = run_match(spark, encoded, CONFIG, as_of=AS_OF, fit_until=FIT_UNTIL)
    early = TableStore(tmp_path)
    times = world.events[c.EVENT_TIMESTAMP].to_pylist()
    past = world.events.filter(pa.array([time < FIT_UNTIL for time in times]))
    World(world.items, past, world.impressions).publish(early)
    run_encode(spark, early, CONFIG, as_of=AS_OF)
    other = run_match(spark, early, CONFIG, as_of=AS_OF, fit_until=FIT_UNTIL)
    assert other.lineage["histogram_edges"] == manifest.lineage["histogram_edges"]


def test_nightly_run_keeps_the_edges_of_the_run_before(spark, world, tmp_path):
    store = TableStore(tmp_path)
    world.publish(store, as_of=at(20))
    run_encode(spark, store, CONFIG, as_of=at(20))
    first = run_match(spark, store, CONFIG, as_of=at(20), fit_until=FIT_UNTIL)
    world.publish(store, as_of=at(21))
    nightly = run_match(spark, store, CONFIG, as_of=at(21), since=at(20))
    for key in ("histogram_edges", "trained_until", "feature_set_id"):
        assert nightly.lineage[key] == first.lineage[key]


def test_nothing_to_fit_on_is_said_before_anything_is_written(spark, encoded):
    with pytest.raises(InputError, match="nobody had liked an item"):
        run_match(spark, encoded, CONFIG, as_of=at(31), fit_until=at(-100))
    assert not encoded.partition(TABLE, at(31)).exists()


def test_since_cuts_the_rows_and_not_the_histories(spark, encoded):
    run_match(spark, encoded, CONFIG, as_of=AS_OF)
    everything = found_rows(encoded)
    run_match(spark, encoded, CONFIG, as_of=AS_OF, since=at(12))
    late = found_rows(encoded)
    first = to_us(at(12)) - WINDOW.lag_us
    assert_same(late, {p: v for p, v in everything.items() if p.as_of_us >= first}, atol=1e-6)
    assert 0 < len(late) < len(everything)


def test_lag_hides_the_newest_events(spark, world, encoded):
    """Rows of a longer lag are those of moments that lie as much earlier."""
    section = CONFIG.history.model_copy(update={"lag_s": 86_400.0})
    config = CONFIG.model_copy(update={"history": section})
    run_match(spark, encoded, config, as_of=AS_OF)
    pairs = worlds.true_pairs(world, section)
    vectors = build_embedding_table(encoded.read("item_embedding"), "hash-v1-32")
    known = dict(zip(vectors.ids.tolist(), vectors.take(np.arange(len(vectors))), strict=True))
    told = worlds.true_feedback(world, section)
    category = true_categories(world)
    values = naive_match(pairs, told, known, FEATURES, WINDOW, category=category)
    naive = dict(zip(pairs, values, strict=True))
    assert_same(found_rows(encoded), naive, rtol=1e-3, atol=1e-5)


def test_placebo_has_the_same_counts_and_other_similarities(spark, encoded):
    run_match(spark, encoded, CONFIG, as_of=AS_OF)
    manifest = run_match(spark, encoded, CONFIG, as_of=AS_OF, placebo=Placebo("permuted", 0))
    assert manifest.table == "user_item_match_placebo"
    assert manifest.lineage["placebo"] == {"kind": "permuted", "seed": 0}
    true, placebo = found_rows(encoded), found_rows(encoded, manifest.table)
    counts = [COLUMNS.index(name) for name in ("history_count", "history_liked", "category_count")]
    assert true.keys() == placebo.keys()
    for pair, values in true.items():
        np.testing.assert_array_equal(
            [values[n] for n in counts], [placebo[pair][n] for n in counts]
        )
    moved = [
        values[0] != placebo[pair][0] for pair, values in true.items() if not math.isnan(values[0])
    ]
    assert np.mean(moved) > 0.5


def test_random_vectors_have_the_same_counts_and_similarities_of_chance(spark, encoded):
    run_match(spark, encoded, CONFIG, as_of=AS_OF)
    manifest = run_match(spark, encoded, CONFIG, as_of=AS_OF, placebo=Placebo("random", 0))
    assert manifest.table == "user_item_match_random"
    true, drawn = found_rows(encoded), found_rows(encoded, manifest.table)
    count = COLUMNS.index("history_count")
    assert {pair: row[count] for pair, row in true.items()} == {
        pair: row[count] for pair, row in drawn.items()
    }
    known = [pair for pair, row in true.items() if not math.isnan(row[0])]
    assert np.mean([true[pair][0] != drawn[pair][0] for pair in known]) > 0.9


def test_a_lagged_row_is_the_row_of_an_earlier_moment_under_its_own_stamp(spark, world, encoded):
    delay = timedelta(hours=30)
    manifest = run_match(spark, encoded, CONFIG, as_of=AS_OF, cut=HistoryCut(delay))
    assert manifest.table == "user_item_match_lagged"
    lagged = encoded.read(manifest.table)
    section = CONFIG.history.model_copy(
        update={"lag_s": CONFIG.history.lag_s + delay.total_seconds()}
    )
    run_match(spark, encoded, CONFIG.model_copy(update={"history": section}), as_of=AS_OF)
    earlier = worlds.rows_by_pair(encoded.read(TABLE))
    shift = delay // timedelta(microseconds=1)
    assert len(earlier) == lagged.num_rows
    for pair, row in worlds.rows_by_pair(lagged).items():
        same = earlier[type(pair)(pair.user, pair.item, pair.as_of_us - shift)]
        assert [row[name] for name in (*COLUMNS, c.FEATURE_TIME)] == [
            same[name] for name in (*COLUMNS, c.FEATURE_TIME)
        ]
    asked = {pair.as_of_us for pair in worlds.true_pairs(world, CONFIG.history)}
    assert {pair.as_of_us for pair in worlds.rows_by_pair(lagged)} == asked


def test_histories_without_their_newest_events_are_those_of_a_double_loop(spark, world, encoded):
    config = worlds.with_buckets(2)
    manifest = run_match(spark, encoded, config, as_of=AS_OF, cut=HistoryCut(newest=2))
    assert (manifest.table, manifest.lineage["skip_newest"]) == ("user_item_match_lagged", 2)
    vectors = build_embedding_table(encoded.read("item_embedding"), "hash-v1-32")
    known = dict(zip(vectors.ids.tolist(), vectors.take(np.arange(len(vectors))), strict=True))
    pairs, told = (f(world, CONFIG.history) for f in (worlds.true_pairs, worlds.true_feedback))
    window = dataclasses.replace(WINDOW, skip_newest=2)
    values = naive_match(pairs, told, known, FEATURES, window, category=true_categories(world))
    naive = dict(zip(pairs, values, strict=True))
    assert_same(found_rows(encoded, manifest.table), naive, rtol=1e-3, atol=1e-5)


def test_a_placebo_and_a_delay_at_once_are_refused(spark, encoded):
    with pytest.raises(ConfigError, match="at once"):
        run_match(
            spark,
            encoded,
            CONFIG,
            as_of=AS_OF,
            placebo=Placebo("random", 0),
            cut=HistoryCut(timedelta(hours=1)),
        )


def test_windows_types_and_prefixes_reach_the_job(spark, world, encoded):
    section = CONFIG.match.model_copy(
        update={"windows_days": (2,), "event_types": ("event", "unclicked"), "dim": 8}
    )
    config = CONFIG.model_copy(update={"match": section})
    manifest = run_match(spark, encoded, config, as_of=AS_OF)
    assert manifest.lineage["dim"] == 8
    features = build_features(section, categories=True)
    assert manifest.lineage["feature_set_id"] == feature_set_id(features, dim=8)
    vectors = build_embedding_table(encoded.read("item_embedding"), "hash-v1-32").prefix(8)
    stored = vectors.vectors.astype(np.float16).astype(float)
    known = dict(zip(vectors.ids.tolist(), stored.tolist(), strict=True))
    told = [
        event._replace(event_type="unclicked" if event.weight == UNCLICKED else "event")
        for event in worlds.true_feedback(world, CONFIG.history)
    ]
    pairs = worlds.true_pairs(world, CONFIG.history)
    values = naive_match(pairs, told, known, features, WINDOW, category=true_categories(world))
    rows = worlds.rows_by_pair(encoded.read(TABLE))
    for pair, expected in zip(pairs, values, strict=True):
        found = [rows[pair][name] for name in columns_of(features)]
        found = [math.nan if value is None else value for value in found]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5, err_msg=str(pair))


def keeping(buckets: int):
    """Return the settings under which events are kept by user."""
    config = worlds.with_buckets(buckets)
    spark = config.spark.model_copy(update={"keep_user_events": True})
    section = CONFIG.match.model_copy(update={"event_types": ("event",)})
    return config.model_copy(update={"spark": spark, "match": section})


def without_lineage(table: pa.Table) -> pa.Table:
    ordered = table.sort_by([(name, "ascending") for name in c.PAIR])
    return ordered.select([*c.PAIR, c.AVAILABLE_AT, c.FEATURE_TIME, *columns_of(FEATURES)])


def test_events_kept_by_user_change_no_bit(spark, world, encoded):
    section = CONFIG.match.model_copy(update={"event_types": ("event",)})
    config = CONFIG.model_copy(update={"match": section})
    first = run_match(spark, encoded, config, as_of=AS_OF, fit_until=FIT_UNTIL)
    expected = without_lineage(encoded.read(TABLE))
    for buckets in (1, 2, 16):
        manifest = run_match(spark, encoded, keeping(buckets), as_of=AS_OF, fit_until=FIT_UNTIL)
        assert manifest.lineage == first.lineage
        assert without_lineage(encoded.read(TABLE)).equals(expected)


@pytest.mark.parametrize("keep", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_vectors_joined_to_buckets_change_no_bit(spark, encoded, keep):
    shared = keeping(3) if keep else worlds.with_buckets(3)
    bucketed = shared.spark.model_copy(update={"item_vectors": "bucketed"})
    for placebo in (None, Placebo("permuted", 1), Placebo("random", 1)):
        kind = "" if placebo is None else placebo.kind.replace("permuted", "placebo")
        table = f"{TABLE}_{kind}".rstrip("_")
        found = []
        for section in (shared.spark, bucketed):
            config = shared.model_copy(update={"spark": section})
            run = run_match(
                spark, encoded, config, as_of=AS_OF, fit_until=FIT_UNTIL, placebo=placebo
            )
            found.append((run.lineage, without_lineage(encoded.read(table))))
        assert found[0][0] == found[1][0]
        assert found[0][1].equals(found[1][1])
    assert not list((encoded.root / "_derived").glob("bucket_items-*"))


@pytest.mark.slow
def test_vectors_joined_to_buckets_without_categories_or_any_vector(spark, world, store):
    """More buckets than users: some have no vector at all."""
    items = world.items.drop_columns([c.CATEGORY])
    dataclasses.replace(world, items=items).publish(store)
    shared = worlds.with_buckets(40)
    section = shared.spark.model_copy(update={"item_vectors": "bucketed"})
    bucketed = shared.model_copy(update={"spark": section})
    with pytest.raises(MissingTableError, match="sail-features encode"):
        run_match(spark, store, bucketed, as_of=AS_OF)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    found = []
    for config in (shared, bucketed):
        run_match(spark, store, config, as_of=AS_OF)
        rows = store.read(TABLE).sort_by([(name, "ascending") for name in c.PAIR])
        found.append(rows.drop_columns([c.CREATED]))
    assert found[0].equals(found[1])


def test_next_night_sorts_only_what_is_new(spark, world, store):
    """The rows are those of a run that keeps nothing."""

    def publish(day: int, since: int | None) -> None:
        for name in ("events", "impressions"):
            table = getattr(world, name)
            times = table[c.EVENT_TIMESTAMP].to_pylist()
            begin = at(-100 if since is None else since)
            new = table.filter(pa.array([begin <= time < at(day) for time in times]))
            start = None if since is None else at(since)
            worlds.publish(store, name, new, as_of=at(day), since=start)

    def runs() -> dict[str, int]:
        found = (store.root / "_derived").glob("user_events-*")
        return {path.name: [file.stat().st_mtime_ns for file in path.iterdir()] for path in found}

    worlds.publish(store, "items", world.items, as_of=at(14))
    publish(14, None)
    run_encode(spark, store, CONFIG, as_of=at(14))
    run_match(spark, store, keeping(2), as_of=at(14))
    first = runs()
    publish(15, 14)
    run_match(spark, store, keeping(2), as_of=at(15), since=at(14))
    assert len(first) == 2  # what was told, and what was shown and passed over
    assert len(runs()) == 4
    assert first.items() <= runs().items()
    found = without_lineage(store.read(TABLE))
    config = keeping(2).model_copy(update={"spark": CONFIG.spark})
    run_match(spark, store, config, as_of=at(15), since=at(14))
    assert found.equals(without_lineage(store.read(TABLE)))


def test_nothing_encoded_names_the_command(spark, world, store):
    world.publish(store)
    with pytest.raises(MissingTableError, match="sail-features encode"):
        run_match(spark, store, CONFIG, as_of=AS_OF)


def test_interests_that_were_mined_are_features_like_any_other(spark, store):
    world = worlds.random_world(7)
    world.publish(store)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    without = run_match(spark, store, CONFIG, as_of=AS_OF)
    run_interests(spark, store, CONFIG, as_of=AS_OF, every=timedelta(days=2))
    manifest = run_match(spark, store, CONFIG, as_of=AS_OF)
    assert manifest.lineage["feature_set_id"] != without.lineage["feature_set_id"]
    assert "user_interest" in {ref.table for ref in manifest.inputs}
    found = store.read(TABLE).sort_by([(name, "ascending") for name in c.PAIR])
    vectors = build_embedding_table(store.read("item_embedding"), manifest.lineage["encoder_id"])
    features = build_features(CONFIG.match, categories=True, interests=True)
    expected = compute_match_table(
        found.select(list(c.PAIR)),
        read_feedback(
            spark, store, store.covering("events"), store.covering("impressions"), CONFIG.history
        ).toArrow(),
        vectors,
        features,
        WINDOW,
        category=categories_of(world.items, vectors),
        interests=store.read("user_interest"),
    )
    for name in columns_of(features):
        assert found[name].combine_chunks().equals(expected[name].combine_chunks()), name
    assert 0 < found["interest_similarity"].null_count < found.num_rows


def test_interests_of_another_encoder_are_refused(spark, store):
    worlds.random_world(7).publish(store)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    run_interests(spark, store, CONFIG, as_of=AS_OF)
    other = CONFIG.encoder.model_copy(update={"dim": 16})
    config = CONFIG.model_copy(update={"encoder": other})
    run_encode(spark, store, config, as_of=AS_OF)
    with pytest.raises(InputError, match=r"mined from vectors of hash-v1-32, not of hash-v1-16"):
        run_match(spark, store, config, as_of=AS_OF)
