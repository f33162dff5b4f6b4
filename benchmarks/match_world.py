"""The synthetic, skewed world that match features are timed on, as in `match_facts.md` 1.1.

Zipf items of 200 topics, lognormal histories, about 25 rows a user, five candidates a
request, at most 100 events a row, five interests a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sail_features.config import MatchConfig
from sail_features.embeddings import EmbeddingTable
from sail_features.history import US_PER_DAY, HistoryWindow
from sail_features.interests.snapshots import InterestSnapshots
from sail_features.match.block import MatchFeature
from sail_features.match.events import MatchLog, sort_history
from sail_features.match.family import build_features, columns_of
from sail_features.match.kernel import compute_match
from sail_features.match.sorted_rows import MatchRows

WINDOW: Final = HistoryWindow(timedelta(days=365), max_events=100)
FEATURES: Final = build_features(MatchConfig(), categories=True, interests=True)
COLUMNS: Final = columns_of(FEATURES)
_FIRST: Final = (
    "similarity_statistics",
    "similarity_histogram",
    "history_counts",
    "category_match",
    "interest_match",
)
FIRST_FEATURES: Final = tuple(feature for feature in FEATURES if feature.name in _FIRST)
"""Those that `match_facts.md` 1.1 measured its kernels with, as far as they exist here."""


@dataclass(frozen=True)
class World:
    """What a match is computed from."""

    rows: MatchRows
    log: MatchLog
    table: EmbeddingTable
    category: NDArray[np.int64]
    interests: InterestSnapshots

    def match(
        self,
        rows: MatchRows | None = None,
        threads: int = 1,
        features: Sequence[MatchFeature] = FEATURES,
    ) -> NDArray[np.float32]:
        """Return the features of all rows, or of these."""
        return compute_match(
            rows or self.rows,
            self.log,
            self.table,
            features,
            WINDOW,
            category=self.category,
            interests=self.interests,
            threads=threads,
        ).values


def make_world(dim: int, rows: int, *, items: int = 20_000, topics: int = 200) -> World:
    """Return a world of about 25 rows a user; rows and events are sorted."""
    rng = np.random.default_rng(0)
    users = rows // 25
    topic = rng.integers(0, topics, items)
    vectors = 0.8 * rng.standard_normal((topics, dim))[topic] + rng.standard_normal((items, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = EmbeddingTable(
        np.arange(items), vectors.astype(np.float16), "synthetic", np.zeros(items, np.int64)
    )
    popularity = np.cumsum(1 / np.arange(1, items + 1))
    popularity /= popularity[-1]
    sizes = rng.lognormal(np.log(48), 1.03, users).astype(np.int64).clip(1, 3000)
    count = int(sizes.sum())
    log = sort_history(
        np.repeat(np.arange(users), sizes),
        np.searchsorted(popularity, rng.random(count)),
        rng.integers(0, 60 * US_PER_DAY, count),
        rng.choice(np.float32([1, 2, 0.5, -0.5, -1]), count, p=[0.3, 0.15, 0.15, 0.3, 0.1]),
        np.arange(items),
    )
    user = rng.choice(users, rows // 5, p=sizes / count)
    moment = rng.integers(20 * US_PER_DAY, 60 * US_PER_DAY, rows // 5)
    order = np.repeat(np.lexsort((moment, user)), 5)
    asked = MatchRows(user[order], np.searchsorted(popularity, rng.random(rows)), moment[order])
    return World(asked, log, table, topic, make_interests(rng, users, dim))


def make_interests(rng: np.random.Generator, users: int, dim: int) -> InterestSnapshots:
    """Return five interests a user, mined on day 20."""
    cells, mined_us = 5 * users, 20 * US_PER_DAY
    vectors = rng.standard_normal((cells, dim)).astype(np.float32)
    return InterestSnapshots(
        user=np.arange(users),
        time_us=np.full(users, mined_us),
        offsets=5 * np.arange(users + 1),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        weight=rng.dirichlet(np.ones(5), users).ravel().astype(np.float32),
        size=rng.integers(1, 30, cells).astype(np.int32),
        newest_us=mined_us - rng.integers(1, 10 * US_PER_DAY, cells),
        feedback=rng.uniform(-1, 1, cells).astype(np.float32),
        available_at_us=np.full(users, mined_us),
    )
