"""Each match feature again, as a plain loop that anyone can check by eye.

An oracle takes what one row may see (`Past`) and returns one value a column, NaN where
missing, in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from sail_features.match.block import MatchFeature, Viewed
from sail_features.match.category_match import CategoryMatch
from sail_features.match.contrast import Contrast
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.history_coverage import HistoryCoverage
from sail_features.match.interest_match import InterestMatch
from sail_features.match.neighbour_feedback import TIE, NeighbourFeedback
from sail_features.match.past import Past
from sail_features.match.recent_contrast import RecentContrast
from sail_features.match.similarity_histogram import SimilarityHistogram
from sail_features.match.similarity_statistics import SimilarityStatistics
from sail_features.match.top_similarities import TopSimilarities

Numbers = Sequence[float]
Oracle = Callable[[Past], list[float]]
"""From what one row may see to one value a column."""


def naive_similarity_statistics(past: Past, *, half_life_days: float) -> list[float]:
    """Return maximum, mean, top-3 and top-10 mean, deviation and two weighted means.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> past = Past([PastEvent(0.75), PastEvent(0.25), PastEvent(0.9, weight=-1)])
    >>> naive_similarity_statistics(past, half_life_days=30)[:5]
    [0.75, 0.5, 0.5, 0.5, 0.25]
    """
    liked = [event for event in past.events if event.weight > 0]
    if not liked:
        return [math.nan] * 7
    values = sorted((event.similarity for event in liked), reverse=True)
    mean = _mean(values)
    youngest = min(event.age_days for event in liked)
    return [
        values[0],
        mean,
        _mean(values[:3]),
        _mean(values[:10]),
        math.sqrt(_mean([(value - mean) ** 2 for value in values])),
        _weighted_mean(
            (event.similarity, 2 ** ((youngest - event.age_days) / half_life_days))
            for event in liked
        ),
        _weighted_mean((event.similarity, event.weight) for event in liked),
    ]


def naive_top_similarities(past: Past, *, k: int) -> list[float]:
    """Return the k highest similarities to liked events, NaN beyond their number.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_top_similarities(Past([PastEvent(0.25), PastEvent(0.75)]), k=1)
    [0.75]
    """
    ranked = sorted((event.similarity for event in past.events if event.weight > 0), reverse=True)
    return (ranked + [math.nan] * k)[:k]


def naive_contrast(past: Past) -> list[float]:
    """Return the differences of mean, maximum and top-5 mean; NaN where a side is empty.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_contrast(Past([PastEvent(0.75), PastEvent(0.25, weight=-1)]))
    [0.5, 0.5, 0.5]
    """
    liked = sorted((e.similarity for e in past.events if e.weight > 0), reverse=True)
    disliked = sorted((e.similarity for e in past.events if e.weight < 0), reverse=True)
    return [
        _mean(liked) - _mean(disliked),
        _mean(liked[:1]) - _mean(disliked[:1]),
        _mean(liked[:5]) - _mean(disliked[:5]),
    ]


def naive_recent_contrast(past: Past, *, recent_days: float) -> list[float]:
    """Return the differences of mean and maximum between recent and earlier liked events.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_recent_contrast(Past([PastEvent(0.75), PastEvent(0.25, age_days=9)]), recent_days=7)
    [0.5, 0.5]
    """
    liked = [event for event in past.events if event.weight > 0]
    recent = [event.similarity for event in liked if event.age_days <= recent_days]
    earlier = [event.similarity for event in liked if event.age_days > recent_days]
    return [
        _mean(recent) - _mean(earlier),
        max(recent, default=math.nan) - max(earlier, default=math.nan),
    ]


def naive_neighbour_feedback(past: Past, *, neighbours: int) -> list[float]:
    """Return the mean feedback on the nearest events, weighted by max(similarity, 0)^4.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> past = Past([PastEvent(1, 1), PastEvent(1, -0.5), PastEvent(0.1, -1)])
    >>> naive_neighbour_feedback(past, neighbours=2)
    [0.25]
    """
    ranked = sorted((event.similarity for event in past.events), reverse=True)
    edge = ranked[neighbours - 1] if len(ranked) >= neighbours else -math.inf
    return [
        _weighted_mean(
            (event.weight, max(event.similarity, 0) ** 4)
            for event in past.events
            if event.similarity >= edge - TIE
        )
    ]


def naive_similarity_histogram(past: Past, *, edges: Numbers) -> list[float]:
    """Return how many liked events lie in each band [edge, next edge).

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_similarity_histogram(Past([PastEvent(0.9), PastEvent(0.5)]), edges=[0.2, 0.5])
    [0.0, 0.0, 2.0]
    """
    bounds = [-math.inf, *edges, math.inf]
    return [
        float(sum(low <= event.similarity < high and event.weight > 0 for event in past.events))
        for low, high in pairwise(bounds)
    ]


def naive_category_match(past: Past) -> list[float]:
    """Return count, share, mean and highest similarity, feedback and age of same-category events.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_category_match(Past([PastEvent(0.5, 1, 2, True), PastEvent(0.1)]))
    [1.0, 0.5, 0.5, 0.5, 1.0, 2]
    """
    if not past.categorised:
        return [math.nan] * 6
    same = [event for event in past.events if event.same_category]
    liked = [event.similarity for event in same if event.weight > 0]
    return [
        float(len(same)),
        len(same) / len(past.events) if past.events else math.nan,
        _mean(liked),
        max(liked, default=math.nan),
        _mean([event.weight for event in same]),
        min((event.age_days for event in same), default=math.nan),
    ]


def naive_interest_match(past: Past) -> list[float]:
    """Return similarity, weight, age, size and feedback of the nearest interest, and the mean.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastInterest
    >>> naive_interest_match(Past(interests=[PastInterest(0.75, 0.25), PastInterest(0.25, 0.75)]))
    [0.75, 0.25, 1.0, 1.0, 0.0, 0.375]
    """
    if not past.interests:
        return [math.nan] * 6
    nearest = max(past.interests, key=lambda i: (i.similarity, i.weight))
    return [
        nearest.similarity,
        nearest.weight,
        nearest.age_days,
        nearest.size,
        nearest.feedback,
        _weighted_mean((interest.similarity, interest.weight) for interest in past.interests),
    ]


def naive_history_counts(past: Past) -> list[float]:
    """Return the numbers of all, liked and disliked events, and the youngest one's age.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_history_counts(Past([PastEvent(0.1, 1, 3), PastEvent(0.2, -1, 5)]))
    [2.0, 1.0, 1.0, 3]
    """
    return [
        float(len(past.events)),
        float(sum(event.weight > 0 for event in past.events)),
        float(sum(event.weight < 0 for event in past.events)),
        min((event.age_days for event in past.events), default=math.nan),
    ]


def naive_history_coverage(past: Past) -> list[float]:
    """Return the share of events that have a vector.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> naive_history_coverage(Past([PastEvent(0.1)], unlisted=1))
    [0.5]
    """
    every = len(past.events) + past.unlisted
    return [len(past.events) / every if every else math.nan]


def oracle_of(feature: MatchFeature) -> Oracle:
    """Return the oracle of one of this package's features, with its parameters.

    Raises
    ------
    TypeError
        The feature is none of them: pass your own oracle.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent
    >>> oracle_of(NeighbourFeedback(neighbours=1))(Past([PastEvent(0.5), PastEvent(1.0, -1)]))
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
        case TopSimilarities():
            return partial(naive_top_similarities, k=feature.k)
        case RecentContrast():
            return partial(naive_recent_contrast, recent_days=feature.recent_days)
        case CategoryMatch():
            return naive_category_match
        case InterestMatch():
            return naive_interest_match
        case HistoryCounts():
            return naive_history_counts
        case HistoryCoverage():
            return naive_history_coverage
        case Viewed():
            return oracle_of(feature.feature)
    raise TypeError(f"no oracle for {type(feature).__name__}")


def _mean(values: Numbers) -> float:
    return sum(values) / len(values) if values else math.nan


def _weighted_mean(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the mean of (value, weight) pairs; NaN where the weights add up to nothing."""
    listed = list(pairs)
    total = sum(weight for _, weight in listed)
    return sum(value * weight for value, weight in listed) / total if total > 0 else math.nan
