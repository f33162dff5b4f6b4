"""One user with most of the events: streamed like the others, with the same bits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import worlds
from worlds import AS_OF, CONFIG, DAY_0

from sail_features import columns as c
from sail_features.history import US_PER_DAY, HistoryWindow, times_of, to_us
from sail_features.item_vectors import build_embedding_table
from sail_features.match.family import build_features
from sail_features.match.frame import compute_match_table
from sail_features.match.stream import ROWS_PER_BLOCK
from sail_features.schemas import EVENTS, IMPRESSIONS, conform
from sail_features.spark.encode import run_encode
from sail_features.spark.inputs import rows_to_match
from sail_features.spark.match import run_match

HEAVY = "heavy"


def log_of(user: np.ndarray, items: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return the key columns of a log of these users' rows: Zipf items, twenty days."""
    item = np.minimum(rng.zipf(1.3, len(user)), items)
    times = to_us(DAY_0) + rng.integers(0, 20 * US_PER_DAY, len(user))
    return {
        c.USER_ID: pa.array(user),
        c.ITEM_ID: pa.array(item.astype(str)),
        c.EVENT_TIMESTAMP: times_of(times),
    }


def skewed_world(heavy_events: int, heavy_shown: int) -> worlds.World:
    """Return 300 users with lognormal histories, and one with so many events."""
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(3, 1, 300).astype(int) + 1
    user = np.append(np.repeat(np.arange(300).astype(str), sizes), np.full(heavy_events, HEAVY))
    told = log_of(user, 16, rng)
    weight = rng.choice(np.float32([-1, 0, 1]), len(user))
    kinds = pa.array(np.full(len(user), "event"))
    shown = np.append(rng.choice(300, 2_000).astype(str), np.full(heavy_shown, HEAVY))
    rows = log_of(shown, 16, rng)
    return worlds.World(
        worlds.random_world(0).items,
        conform(pa.table({**told, c.EVENT_TYPE: kinds, c.WEIGHT: weight}), EVENTS),
        conform(
            pa.table({**rows, c.REQUEST_ID: np.arange(len(shown)), c.LABEL: np.zeros(len(shown))}),
            IMPRESSIONS,
        ),
        negatives="uniform",
    )


@pytest.mark.parametrize(
    ("events", "shown"),
    [(2 * ROWS_PER_BLOCK, 2_000), pytest.param(10**6, 10**6, marks=pytest.mark.slow)],
)
def test_heavy_user_is_split_without_a_trace(spark, store, events, shown):
    world = skewed_world(events, shown)
    world.publish(store)
    run_encode(spark, store, CONFIG, as_of=AS_OF)
    run_match(spark, store, CONFIG, as_of=AS_OF)
    found = store.read("user_item_match").sort_by([(name, "ascending") for name in c.PAIR])
    vectors = build_embedding_table(store.read("item_embedding"), "hash-v1-32")
    asked = rows_to_match(
        spark.read.parquet(*store.files(store.covering("impressions"))), None, CONFIG.history
    )
    features = build_features(CONFIG.match)
    unsplit = compute_match_table(
        asked.distinct().toArrow(),
        world.events,
        vectors,
        features,
        HistoryWindow.from_config(CONFIG.history),
    )
    assert found.num_rows == unsplit.num_rows > shown
    for name in unsplit.column_names:
        assert found[name].combine_chunks().equals(unsplit[name].combine_chunks()), name
