"""The match features of one row in numpy: what people write before they need it fast."""

from __future__ import annotations

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
    liked, disliked = weight > 0, weight < 0
    near, far = np.sort(similarity[liked])[::-1], np.sort(similarity[disliked])[::-1]
    return [
        *_statistics(near, similarity[liked], weight[liked], age_days[liked]),
        *_contrast(near, far),
        _neighbour_feedback(similarity, weight),
        *np.bincount(np.searchsorted(EDGES, near, side="right"), minlength=10).tolist(),
        *(near[:5].tolist() + [NULL] * 5)[:5],
        *_recent_contrast(similarity[liked], age_days[liked]),
        *_category(similarity, weight, age_days, same_category, liked),
        *_interests(*interests),
        len(weight),
        int(liked.sum()),
        int(disliked.sum()),
        age_days[-1] if len(age_days) else NULL,
        1.0 if len(weight) else NULL,
    ]


def _statistics(
    near: NDArray[np.float32],
    similarity: NDArray[np.float32],
    weight: NDArray[np.float32],
    age_days: NDArray[np.float32],
) -> list[float]:
    if not len(near):
        return [NULL] * 7
    recency = np.exp2((age_days[-1] - age_days) / 30)
    return [
        near[0],
        near.mean(),
        near[:3].mean(),
        near[:10].mean(),
        near.std(),
        similarity @ recency / recency.sum(),
        similarity @ weight / weight.sum(),
    ]


def _contrast(near: NDArray[np.float32], far: NDArray[np.float32]) -> list[float]:
    if not len(near) or not len(far):
        return [NULL] * 3
    return [near.mean() - far.mean(), near[0] - far[0], near[:5].mean() - far[:5].mean()]


def _neighbour_feedback(similarity: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    close = np.maximum(similarity, 0)
    if len(close) > 10:
        edge = np.partition(close, len(close) - 10)[len(close) - 10]
        close = np.where(close >= edge - 1e-6, close, 0)
    power = close**4
    total = power.sum()
    return float(power @ weight / total) if total > 0 else NULL


def _recent_contrast(similarity: NDArray[np.float32], age_days: NDArray[np.float32]) -> list[float]:
    recent, earlier = similarity[age_days <= 7], similarity[age_days > 7]
    if not len(recent) or not len(earlier):
        return [NULL] * 2
    return [recent.mean() - earlier.mean(), recent.max() - earlier.max()]


def _category(
    similarity: NDArray[np.float32],
    weight: NDArray[np.float32],
    age_days: NDArray[np.float32],
    same: NDArray[np.bool_],
    liked: NDArray[np.bool_],
) -> list[float]:
    count, both = int(same.sum()), similarity[same & liked]
    return [
        count,
        count / len(same) if len(same) else NULL,
        both.mean() if len(both) else NULL,
        both.max() if len(both) else NULL,
        weight[same].mean() if count else NULL,
        age_days[same].min() if count else NULL,
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
        similarity @ weight / weight.sum(),
    ]
