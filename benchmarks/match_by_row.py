"""The match features of one row in numpy: what people write before they need it fast."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

EDGES = np.linspace(-1, 1, 11)[1:-1].round(6).astype(np.float32)
NULL = float("nan")


def match_row(
    similarity: NDArray[np.float32],
    weight: NDArray[np.float32],
    age_days: NDArray[np.float32],
    same_category: NDArray[np.bool_],
    interests: tuple[NDArray[np.float32], ...],
) -> list[float]:
    """Return the 45 default columns, vectorised over the row's events (oldest first)."""
    liked = weight > 0
    close, of_liked, age_of_liked = similarity[liked], weight[liked], age_days[liked]
    far = similarity[weight < 0]
    rising = np.sort(close)
    near = rising[::-1]
    return [
        *_statistics(near, close, of_liked, age_of_liked),
        *_contrast(near, far),
        _neighbour_feedback(similarity, weight),
        *np.diff(np.searchsorted(rising, EDGES), prepend=0, append=len(rising)).tolist(),
        *(near[:5].tolist() + [NULL] * 5)[:5],
        *_recent_contrast(close, age_of_liked),
        *_category(similarity, weight, age_days, same_category, liked),
        *_interests(*interests),
        len(weight),
        len(close),
        len(far),
        age_days[-1] if len(age_days) else NULL,
        1.0 if len(weight) else NULL,
    ]


def _mean(values: NDArray[np.float32]) -> float:
    """Return the mean without the checks of numpy's own, which cost more than the sum."""
    return float(np.add.reduce(values)) / len(values)


def _statistics(
    near: NDArray[np.float32],
    similarity: NDArray[np.float32],
    weight: NDArray[np.float32],
    age_days: NDArray[np.float32],
) -> list[float]:
    if not len(near):
        return [NULL] * 7
    recency, mean = np.exp2((age_days[-1] - age_days) / np.float32(30)), _mean(similarity)
    variance = float(similarity @ similarity) / len(similarity) - mean * mean
    return [
        near[0],
        mean,
        _mean(near[:3]),
        _mean(near[:10]),
        math.sqrt(max(variance, 0)),
        similarity @ recency / np.add.reduce(recency),
        similarity @ weight / np.add.reduce(weight),
    ]


def _contrast(near: NDArray[np.float32], far: NDArray[np.float32]) -> list[float]:
    if not len(near) or not len(far):
        return [NULL] * 3
    top = np.partition(far, len(far) - 5)[-5:] if len(far) > 5 else far
    return [
        _mean(near) - _mean(far),
        near[0] - np.maximum.reduce(top),
        _mean(near[:5]) - _mean(top),
    ]


def _neighbour_feedback(similarity: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    count = len(similarity)
    edge = np.partition(similarity, count - 10)[count - 10] - 1e-6 if count > 10 else 0
    near = similarity >= max(edge, 0)
    square = np.square(similarity[near])
    power = square * square
    total = np.add.reduce(power)
    return float(power @ weight[near] / total) if total > 0 else NULL


def _recent_contrast(similarity: NDArray[np.float32], age_days: NDArray[np.float32]) -> list[float]:
    turn = np.count_nonzero(age_days > 7)
    earlier, recent = similarity[:turn], similarity[turn:]
    if not len(recent) or not len(earlier):
        return [NULL] * 2
    highest = np.maximum.reduce
    return [_mean(recent) - _mean(earlier), highest(recent) - highest(earlier)]


def _category(
    similarity: NDArray[np.float32],
    weight: NDArray[np.float32],
    age_days: NDArray[np.float32],
    same: NDArray[np.bool_],
    liked: NDArray[np.bool_],
) -> list[float]:
    found = np.flatnonzero(same)
    if not len(found):
        return [0, 0 if len(same) else NULL, *[NULL] * 4]
    both = similarity[found[liked[found]]]
    return [
        len(found),
        len(found) / len(same),
        _mean(both) if len(both) else NULL,
        np.maximum.reduce(both) if len(both) else NULL,
        _mean(weight[found]),
        age_days[found[-1]],
    ]


def _interests(
    similarity: NDArray[np.float32],
    weight: NDArray[np.float32],
    age_days: NDArray[np.float32],
    size: NDArray[np.float32],
    feedback: NDArray[np.float32],
) -> list[float]:
    nearest = int(similarity.argmax())
    return [
        similarity[nearest],
        weight[nearest],
        age_days[nearest],
        size[nearest],
        feedback[nearest],
        similarity @ weight / np.add.reduce(weight),
    ]
