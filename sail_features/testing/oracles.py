"""The features again, as plain loops that anyone can check by eye.

Each oracle of a match feature takes one row's history, newest event first, as three
lists (similarities to the target, signed feedback, ages in days) and returns one
value a column, NaN where missing. `naive_match` goes over all rows and all events;
`naive_running_counts` over all events of a row. Double precision, nothing sorted in
advance, nothing shared between rows: slow, and meant to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sail_features.history import HistoryWindow
from sail_features.match.block import MatchFeature
from sail_features.match.contrast import Contrast
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.neighbour_feedback import TIE, NeighbourFeedback
from sail_features.match.similarity_histogram import SimilarityHistogram
from sail_features.match.similarity_statistics import SimilarityStatistics

Numbers = Sequence[float]
Oracle = Callable[[Numbers, Numbers, Numbers], list[float]]
"""From one row's (similarities, weights, ages in days) to one value a column."""

US_PER_DAY = 24 * 60 * 60 * 1_000_000


class Event(NamedTuple):
    """One piece of feedback. Ids are strings or integers, times microseconds since 1970."""

    user: Any
    item: Any
    time_us: int
    weight: float


class Asked(NamedTuple):
    """One row to compute: a user, a target item, and the moment it is as of."""

    user: Any
    item: Any
    as_of_us: int


class Counts(NamedTuple):
    """What `naive_running_counts` answers; ``days_since`` is NaN where nothing happened."""

    events: int
    recent: int
    liked: int
    positive_rate: float
    days_since: float


def naive_similarity_statistics(
    similarities: Numbers, weights: Numbers, ages: Numbers, *, half_life_days: float
) -> list[float]:
    """Return maximum, mean, top-3 and top-10 mean, deviation and two weighted means.

    Examples
    --------
    >>> values = naive_similarity_statistics([0.75, 0.25, 0.9], [1, 1, -1], [1, 1, 1],
    ...                                      half_life_days=30)
    >>> values[:5]
    [0.75, 0.5, 0.5, 0.5, 0.25]
    """
    liked = [
        (similarity, weight, age)
        for similarity, weight, age in zip(similarities, weights, ages, strict=True)
        if weight > 0
    ]
    if not liked:
        return [math.nan] * 7
    values = sorted((similarity for similarity, _, _ in liked), reverse=True)
    mean = _mean(values)
    youngest = min(age for _, _, age in liked)
    return [
        values[0],
        mean,
        _mean(values[:3]),
        _mean(values[:10]),
        math.sqrt(_mean([(value - mean) ** 2 for value in values])),
        _weighted_mean(
            (value, 2 ** ((youngest - age) / half_life_days)) for value, _, age in liked
        ),
        _weighted_mean((value, weight) for value, weight, _ in liked),
    ]


def naive_contrast(similarities: Numbers, weights: Numbers, ages: Numbers) -> list[float]:
    """Return the differences of mean, maximum and top-5 mean; NaN where a side is empty.

    Examples
    --------
    >>> naive_contrast([0.75, 0.25], [1, -1], [1, 1])
    [0.5, 0.5, 0.5]
    """
    liked = sorted((s for s, w in zip(similarities, weights, strict=True) if w > 0), reverse=True)
    disliked = sorted(
        (s for s, w in zip(similarities, weights, strict=True) if w < 0), reverse=True
    )
    return [
        _mean(liked) - _mean(disliked),
        _mean(liked[:1]) - _mean(disliked[:1]),
        _mean(liked[:5]) - _mean(disliked[:5]),
    ]


def naive_neighbour_feedback(
    similarities: Numbers, weights: Numbers, ages: Numbers, *, neighbours: int
) -> list[float]:
    """Return the mean feedback on the nearest events, weighted by max(similarity, 0)^4.

    Examples
    --------
    >>> naive_neighbour_feedback([1, 1, 0.1], [1, -0.5, -1], [1, 2, 3], neighbours=2)
    [0.25]
    """
    ranked = sorted(similarities, reverse=True)
    edge = ranked[neighbours - 1] if len(ranked) >= neighbours else -math.inf
    return [
        _weighted_mean(
            (weight, max(similarity, 0) ** 4)
            for similarity, weight in zip(similarities, weights, strict=True)
            if similarity >= edge - TIE
        )
    ]


def naive_similarity_histogram(
    similarities: Numbers, weights: Numbers, ages: Numbers, *, edges: Numbers
) -> list[float]:
    """Return how many liked events lie in each band [edge, next edge).

    Examples
    --------
    >>> naive_similarity_histogram([0.9, 0.5, 0.1, 0.9], [1, 1, 1, -1], [1] * 4, edges=[0.2, 0.5])
    [1.0, 0.0, 2.0]
    """
    bounds = [-math.inf, *edges, math.inf]
    return [
        float(
            sum(
                low <= similarity < high and weight > 0
                for similarity, weight in zip(similarities, weights, strict=True)
            )
        )
        for low, high in pairwise(bounds)
    ]


def naive_history_counts(similarities: Numbers, weights: Numbers, ages: Numbers) -> list[float]:
    """Return the numbers of all, liked and disliked events, and the youngest one's age.

    Examples
    --------
    >>> naive_history_counts([0.1, 0.2], [1, -1], [3, 5])
    [2.0, 1.0, 1.0, 3.0]
    """
    return [
        float(len(weights)),
        float(sum(weight > 0 for weight in weights)),
        float(sum(weight < 0 for weight in weights)),
        float(min(ages, default=math.nan)),
    ]


def oracle_of(feature: MatchFeature) -> Oracle:
    """Return the oracle of one of this package's features, with its parameters.

    Raises
    ------
    TypeError
        The feature is none of them: pass your own oracle.

    Examples
    --------
    >>> oracle_of(NeighbourFeedback(neighbours=1))([0.5, 1.0], [1, -1], [1, 1])
    [-1.0]
    """
    match feature:
        case SimilarityStatistics():
            return partial(naive_similarity_statistics, half_life_days=feature.half_life_days)
        case Contrast():
            return naive_contrast
        case NeighbourFeedback():
            return partial(naive_neighbour_feedback, neighbours=feature.neighbours)
        case SimilarityHistogram():
            return partial(
                naive_similarity_histogram, edges=np.array(feature.edges, np.float32).tolist()
            )
        case HistoryCounts():
            return naive_history_counts
    raise TypeError(f"no oracle for {type(feature).__name__}")


def naive_history(
    user: object,
    as_of_us: int,
    events: Iterable[Event],
    window: HistoryWindow,
) -> list[Event]:
    """Return the events that a row may see, newest first.

    Parameters
    ----------
    user, as_of_us : whose history, and the exclusive end of it.
    events : of all users, at any time, in any order.
    window : the lookback, whose start is inclusive, and the number of events kept.

    Notes
    -----
    Ties in time are ordered as `sail_features.history.sort_events` orders them: by
    item, then by weight; of equally old events at the edge, the later in that order
    stay.
    """
    seen = [
        event
        for event in events
        if event.user == user and as_of_us - window.lookback_us <= event.time_us < as_of_us
    ]
    seen.sort(key=lambda event: (event.time_us, event.item, event.weight), reverse=True)
    return seen[: window.max_events]


def naive_match(
    rows: Iterable[Asked],
    events: Sequence[Event],
    vectors: Mapping[Any, Numbers],
    features: Sequence[MatchFeature],
    window: HistoryWindow,
    oracles: Sequence[Oracle] | None = None,
) -> list[list[float]]:
    """Compute match features by going over all events for each row.

    Parameters
    ----------
    rows : what to compute, in the order of the answer.
    events : see `naive_history`.
    vectors : a unit vector an item; an event of an item without one keeps its place
        among the newest and is then left out, and a row that asks for one is all NaN.
    features : what to compute.
    window : how far back to look.
    oracles : one a feature; None takes those of `oracle_of`.

    Examples
    --------
    >>> from datetime import timedelta
    >>> naive_match([Asked("ann", "tea", 20), Asked("ann", "mug", 20)],
    ...             [Event("ann", "mug", 10, 1.0), Event("ann", "tea", 20, 1.0)],
    ...             {"tea": [0.8, 0.6], "mug": [0.6, 0.8]}, [SimilarityHistogram((0.5, 0.97))],
    ...             HistoryWindow(timedelta(days=1), max_events=9))
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    chosen = oracles or [oracle_of(feature) for feature in features]
    answers = []
    for row in rows:
        newest = naive_history(row.user, row.as_of_us, events, window)
        seen = [event for event in newest if event.item in vectors]
        target = vectors.get(row.item)
        if target is None:
            answers.append([math.nan for feature in features for _ in feature.columns])
            continue
        similarities = [_dot(target, vectors[event.item]) for event in seen]
        weights = [event.weight for event in seen]
        ages = [(row.as_of_us - event.time_us) / US_PER_DAY for event in seen]
        answers.append(
            [value for oracle in chosen for value in oracle(similarities, weights, ages)]
        )
    return answers


def naive_running_counts(
    events: Iterable[tuple[int, float]], as_of_us: int, *, recent_us: int, smoothing: float
) -> Counts:
    """Count one owner's events before a moment.

    Parameters
    ----------
    events : (time in microseconds, weight) of all the owner's events, in any order.
    as_of_us : events at or after it are not counted.
    recent_us : length of the recent window, whose start is inclusive.
    smoothing : how many imagined events draw the rate to one half.

    Examples
    --------
    >>> naive_running_counts([(10, 1.0), (20, -1.0), (30, 1.0)], 30, recent_us=10, smoothing=2)
    Counts(events=2, recent=1, liked=1, positive_rate=0.5, days_since=1.1574074074074074e-10)
    """
    before = [(time_us, weight) for time_us, weight in events if time_us < as_of_us]
    liked = sum(weight > 0 for _, weight in before)
    imagined = len(before) + smoothing
    return Counts(
        events=len(before),
        recent=sum(as_of_us - recent_us <= time_us for time_us, _ in before),
        liked=liked,
        positive_rate=(liked + 0.5 * smoothing) / imagined if imagined else math.nan,
        days_since=min(
            ((as_of_us - time_us) / US_PER_DAY for time_us, _ in before), default=math.nan
        ),
    )


def _mean(values: Numbers) -> float:
    return sum(values) / len(values) if values else math.nan


def _weighted_mean(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the mean of (value, weight) pairs; NaN where the weights add up to nothing."""
    listed = list(pairs)
    total = sum(weight for _, weight in listed)
    return sum(value * weight for value, weight in listed) / total if total > 0 else math.nan


def _dot(left: Numbers, right: Numbers) -> float:
    return sum(float(a) * float(b) for a, b in zip(left, right, strict=True))
