"""Interests: which algorithm finds the best ones, and at what cost a user.

A synthetic world after `match_facts.md` 2.1: 1,000 topics in 40 groups, users with one
interest or several, half of them short-lived, 15 % of events off topic. Interests are
mined from 90 days, at most 100 events; the next week's clicks are ranked against 100
items drawn by popularity. One thread, CPU time, best of three interleaved rounds.
Takes about two minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from sail_features.config import InterestConfig
from sail_features.embeddings import normalise
from sail_features.history import US_PER_DAY
from sail_features.interests.importance import compute_recency
from sail_features.interests.mining import label_events
from sail_features.interests.summary import Interests, summarise_clusters

USERS: Final = 1_500
ITEMS: Final = 20_000
TOPICS: Final = 1_000
GROUPS: Final = 40
DAYS: Final = 90
NEGATIVES: Final = 100
ROUNDS: Final = 3
PULLS: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
"""How much the logarithm of an interest's weight adds to a cosine; a ranker learns it,
so each algorithm is judged at its best."""
CONFIG: Final = InterestConfig(half_life_days=14)


class World(NamedTuple):
    """Histories end to end, and next week's clicks with their negatives."""

    items: NDArray[np.float32]
    event: NDArray[np.int64]
    time_us: NDArray[np.int64]
    offsets: NDArray[np.int64]
    click_user: NDArray[np.int64]
    click: NDArray[np.int64]
    negative: NDArray[np.int64]


def build_world(dim: int, seed: int = 0) -> World:
    """Return users' events of `DAYS` days and of the week after."""
    rng = np.random.default_rng(seed)
    group = normalise(rng.standard_normal((GROUPS, dim)))
    own = normalise(rng.standard_normal((TOPICS, dim)))
    topic = np.sqrt(0.15) * group[np.arange(TOPICS) % GROUPS] + np.sqrt(0.35) * own
    topic_of = rng.integers(TOPICS, size=ITEMS)
    noise = normalise(rng.standard_normal((ITEMS, dim)))
    items = normalise(topic[topic_of] + np.sqrt(0.5) * noise)
    popularity = 1 / rng.permutation(np.arange(1, ITEMS + 1))
    popularity /= popularity.sum()
    members = [np.flatnonzero(topic_of == number) for number in range(TOPICS)]
    odds = [popularity[own] / popularity[own].sum() for own in members]
    histories, clicks = [], []
    for _ in range(USERS):
        item, day = _user_events(rng, members, odds, popularity)
        past = np.flatnonzero(day < DAYS)
        past = past[np.argsort(day[past])][-CONFIG.max_events :]
        histories.append((item[past], (day[past] * US_PER_DAY).astype(np.int64)))
        clicks.append(item[day >= DAYS])
    click = np.concatenate(clicks)
    return World(
        items,
        np.concatenate([item for item, _ in histories]),
        np.concatenate([time_us for _, time_us in histories]),
        np.concatenate([[0], np.cumsum([len(item) for item, _ in histories])]),
        np.repeat(np.arange(USERS), [len(item) for item in clicks]),
        click,
        rng.choice(ITEMS, (len(click), NEGATIVES), p=popularity),
    )


def _user_events(
    rng: np.random.Generator,
    members: list[NDArray[np.int64]],
    odds: list[NDArray[np.float64]],
    popularity: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return one user's items and days, the week after `DAYS` included."""
    interests = rng.integers(TOPICS, size=1 + rng.poisson(4))
    interests = interests[[len(members[topic]) > 0 for topic in interests]]
    share = rng.dirichlet(np.ones(len(interests))) if len(interests) else np.empty(0)
    count = int(np.clip(rng.lognormal(np.log(75), 0.5), 10, 400))
    items, days = [], []
    for topic, events in zip(interests, rng.multinomial(int(0.85 * count), share), strict=True):
        day = rng.uniform(0, DAYS + 7, events)
        if rng.random() < 0.5:  # a short-lived interest: all in 20 days
            day = rng.uniform(-10, DAYS) + 20 * day / (DAYS + 7)
        items.append(rng.choice(members[topic], events, p=odds[topic]))
        days.append(day)
    items.append(rng.choice(ITEMS, count - int(0.85 * count), p=popularity))
    days.append(rng.uniform(0, DAYS + 7, len(items[-1])))
    item, day = np.concatenate(items), np.concatenate(days)
    inside = (day >= 0) & (day < DAYS + 7)
    return item[inside], day[inside]


def scipy_ward(
    vectors: NDArray[np.float32], offsets: NDArray[np.int64], *, unite_equal: bool = False
) -> NDArray[np.int32]:
    """Return the labels that scipy gives, user by user, from 0.

    ``unite_equal``: repeated items are one interest, as ours are, even where fewer than
    ``max_interests`` are left; costs a second call, so it isn't what is timed.
    """
    labels = np.zeros(len(vectors), np.int32)
    for start, stop in pairwise(offsets):
        if stop - start > 1:
            tree = linkage(vectors[start:stop], method="ward")
            few = fcluster(tree, CONFIG.max_interests, "maxclust")
            if unite_equal:
                equal = fcluster(tree, CONFIG.distance_cut, "distance")
                few = few if few.max() <= equal.max() else equal
            labels[start:stop] = few - 1
    return labels


def same_partition(
    one: NDArray[np.int32], other: NDArray[np.int32], offsets: NDArray[np.int64]
) -> float:
    """Return the share of users whose events are grouped alike."""
    same = [
        len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a)) == len(set(b))
        for a, b in zip(np.split(one, offsets[1:-1]), np.split(other, offsets[1:-1]), strict=True)
    ]
    return float(np.mean(same))


def next_week_auc(world: World, found: Interests) -> NDArray[np.float64]:
    """Return, for each of `PULLS`, how often a click scores above a negative.

    The score is the maximum over interests of cosine + pull log(weight).
    """
    wins = np.empty((len(world.click), len(PULLS)))
    for place, (user, click) in enumerate(zip(world.click_user, world.click, strict=True)):
        mine = slice(found.offsets[user], found.offsets[user + 1])
        shown = world.items[np.append(click, world.negative[place])]
        cosine = found.vectors[mine] @ shown.T
        bonus = np.array(PULLS)[:, None] * np.log(found.weight[mine])
        score = (cosine + bonus[:, :, None]).max(axis=1)
        clicked, others = score[:, :1], score[:, 1:]
        wins[place] = np.mean((clicked > others) + 0.5 * (clicked == others), axis=1)
    auc: NDArray[np.float64] = wins.mean(axis=0)
    return auc


def compare(dim: int) -> tuple[dict[str, dict[str, float]], float]:
    """Return cost and quality of each algorithm, and how often Ward's are scipy's clusters."""
    world = build_world(dim)
    vectors = world.items[world.event]
    recency = compute_recency(world.time_us, world.offsets, CONFIG.half_life_days)

    def ours(algorithm: str) -> NDArray[np.int32]:
        config = CONFIG.model_copy(update={"algorithm": algorithm})
        return label_events(vectors, world.time_us, recency, world.offsets, config)

    ways: dict[str, Callable[[], NDArray[np.int32]]] = {
        "scipy ward": lambda: scipy_ward(vectors, world.offsets),
        "ward": lambda: ours("ward"),
        "kmeans": lambda: ours("kmeans"),
        "leader": lambda: ours("leader"),
        "one mean": lambda: np.zeros(len(vectors), np.int32),
    }
    labels = {name: way() for name, way in ways.items()}  # compiles what is timed below
    summarise_clusters(vectors, recency, labels["one mean"], world.offsets)
    seconds = dict.fromkeys(ways, np.inf)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name] = min(seconds[name], time.process_time() - start)
    table = {}
    for name, own in labels.items():
        start = time.process_time()
        found = summarise_clusters(vectors, recency, own, world.offsets)
        summary_seconds = time.process_time() - start
        auc = next_week_auc(world, found)
        table[name] = {
            "cluster_us_a_user": round(seconds[name] / USERS * 1e6, 2),
            "summarise_us_a_user": round(summary_seconds / USERS * 1e6, 2),
            "interests_a_user": round(len(found.weight) / USERS, 2),
            "auc_max": round(float(auc[0]), 5),
            "auc_weighted": round(float(auc.max()), 5),
            "best_pull": PULLS[int(auc.argmax())],
        }
    return table, same_partition(
        labels["ward"], scipy_ward(vectors, world.offsets, unite_equal=True), world.offsets
    )


def main() -> None:
    """Compare the algorithms at two dimensions and hold them against the bars."""
    numba.set_num_threads(1)
    bars, details = [], {}
    for dim in (64, 384):
        table, same = compare(dim)
        details[f"dim {dim}"] = table
        scipy_us = table["scipy ward"]["cluster_us_a_user"]
        for name, bar in (("ward", 5), ("leader", 20)):
            ratio = scipy_us / table[name]["cluster_us_a_user"]
            bars.append(Bar(f"{name} against scipy Ward, dim {dim}", ratio, "at least", bar, "x"))
        bars.append(Bar(f"users with scipy's clusters, dim {dim}", same, "at least", 1, ""))
        share = table["leader"]["auc_weighted"] / table["ward"]["auc_weighted"]
        bars.append(Bar(f"leader's AUC against Ward's, dim {dim}", share, "at least", 0.995, ""))
    settings: dict[str, Any] = {"settings": CONFIG.model_dump(mode="json")}
    finish("interests", bars, details | settings)


if __name__ == "__main__":
    main()
