"""The online leader: interests that follow each event at once, in one pass.

An event joins the interest of highest cosine if that is at least ``similarity``;
otherwise it founds a new one, in place of the least important where there is no room.
Sums decay only when they are touched. Cost an event: O(max_interests dim), so a server
can follow a user's clicks; `ward` finds slightly better interests once a day.

References
----------
Hartigan, "Clustering algorithms" (1975): the leader algorithm. Decayed sums, updated
lazily, and replacing the least important one: `match_facts.md` 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sail_features.history import US_PER_DAY
from sail_features.interests.products import dot, renumber


@dataclass(frozen=True)
class LeaderState:
    """Running interests of users, updated in place by `follow_events`.

    Parameters
    ----------
    sums : shape (users, max_interests, dim), decayed sums of member vectors.
    weight : shape (users, max_interests), decayed counts, as of ``last_us``; 0: no interest.
    squared : shape (users, max_interests), squared lengths of the sums.
    last_us : shape (users, max_interests), time of the newest member.
    """

    sums: NDArray[np.float32]
    weight: NDArray[np.float32]
    squared: NDArray[np.float32]
    last_us: NDArray[np.int64]

    @classmethod
    def empty(cls, users: int, max_interests: int, dim: int) -> Self:
        """Return the state of users of whom nothing is known."""
        return cls(
            np.zeros((users, max_interests, dim), np.float32),
            np.zeros((users, max_interests), np.float32),
            np.zeros((users, max_interests), np.float32),
            np.zeros((users, max_interests), np.int64),
        )

    def importance(self, half_life_days: float) -> NDArray[np.float32]:
        """Return each interest's share of its user's decayed weight; 0 without interests."""
        newest = np.where(self.weight > 0, self.last_us, 0).max(axis=1, keepdims=True)
        age = np.where(self.weight > 0, newest - self.last_us, 0)
        decayed = self.weight * np.exp2(-age / (half_life_days * US_PER_DAY))
        total = decayed.sum(axis=1, keepdims=True)
        shares: NDArray[np.float32] = (decayed / np.where(total > 0, total, 1)).astype(np.float32)
        return shares


def follow_events(
    state: LeaderState,
    vectors: NDArray[np.float32],
    time_us: NDArray[np.int64],
    offsets: NDArray[np.int64],
    *,
    similarity: float,
    half_life_days: float,
) -> NDArray[np.int32]:
    """Let each user's interests follow the user's new events; return each event's interest.

    Parameters
    ----------
    state : changed in place.
    vectors : shape (events, dim), of unit length.
    time_us : shape (events,), oldest first in each user's stretch, none before the last call's.
    offsets : shape (users + 1,), where each user's events begin.
    similarity : least cosine at which an event joins an interest.
    half_life_days : after this long an event counts half.

    Returns
    -------
    Shape (events,): the slot among ``max_interests``; -1 where another interest has
    taken the slot since.

    Notes
    -----
    A log followed in any number of calls leaves the same state, to the last bit, as one
    followed at once.

    Examples
    --------
    >>> state = LeaderState.empty(users=1, max_interests=2, dim=2)
    >>> clicks = np.float32([[1, 0], [0.8, 0.6], [0, -1]])
    >>> follow_events(state, clicks, np.zeros(3, np.int64), np.array([0, 3]),
    ...               similarity=0.5, half_life_days=30)
    array([0, 0, 1], dtype=int32)
    >>> state.importance(half_life_days=30).round(2)
    array([[0.67, 0.33]], dtype=float32)
    """
    rate = np.log(2) / (half_life_days * US_PER_DAY)
    return _follow(
        state.sums, state.weight, state.squared, state.last_us, vectors, time_us, offsets,
        np.float32(similarity), rate,
    )  # fmt: skip


def leader_labels(
    vectors: NDArray[np.float32],
    time_us: NDArray[np.int64],
    offsets: NDArray[np.int64],
    max_interests: int,
    *,
    similarity: float,
    half_life_days: float,
) -> NDArray[np.int32]:
    """Return the cluster of each event after following them all, numbered from 0.

    As `follow_events` from an empty state; -1 where the event's interest was replaced.

    Examples
    --------
    >>> points = np.float32([[1, 0], [0, 1], [0, -1]])
    >>> leader_labels(points, np.arange(3), np.array([0, 3]), 2, similarity=0.5, half_life_days=1)
    array([-1,  0,  1], dtype=int32)
    """
    state = LeaderState.empty(len(offsets) - 1, max_interests, vectors.shape[1])
    labels = follow_events(
        state, vectors, time_us, offsets, similarity=similarity, half_life_days=half_life_days
    )
    _renumber_all(labels, offsets, max_interests)
    return labels


@njit(parallel=True, cache=True, nogil=True)
def _follow(
    sums: NDArray[np.float32],
    weight: NDArray[np.float32],
    squared: NDArray[np.float32],
    last_us: NDArray[np.int64],
    vectors: NDArray[np.float32],
    time_us: NDArray[np.int64],
    offsets: NDArray[np.int64],
    similarity: np.float32,
    rate: float,
) -> NDArray[np.int32]:
    labels = np.empty(len(vectors), np.int32)
    for user in prange(len(offsets) - 1):
        start, stop = offsets[user], offsets[user + 1]
        for event in range(start, stop):
            vector, now = vectors[event], time_us[event]
            slot, product = _nearest(sums[user], squared[user], weight[user], vector, similarity)
            if slot < 0:
                slot = _free_slot(weight[user], last_us[user], now, rate)
                for earlier in range(start, event):
                    if labels[earlier] == slot:
                        labels[earlier] = -1
                product = np.float32(0)
                weight[user, slot] = squared[user, slot] = 0
                sums[user, slot] = 0
                last_us[user, slot] = now
            kept = np.float32(np.exp(-rate * (now - last_us[user, slot])))
            _decay_and_add(sums[user, slot], kept, vector)
            squared[user, slot] = (
                kept * kept * squared[user, slot] + 2 * kept * product + dot(vector, vector)
            )
            weight[user, slot] = kept * weight[user, slot] + 1
            last_us[user, slot] = now
            labels[event] = slot
    return labels


@njit(cache=True, nogil=True)
def _nearest(
    sums: NDArray[np.float32],
    squared: NDArray[np.float32],
    weight: NDArray[np.float32],
    vector: NDArray[np.float32],
    similarity: np.float32,
) -> tuple[int, np.float32]:
    """Return the interest of highest cosine and the product with its sum; -1: none is near."""
    best, product = -1, np.float32(0)
    for slot in range(len(weight)):
        if weight[slot] > 0:
            found = dot(sums[slot], vector)
            cosine = found / np.sqrt(max(squared[slot], np.float32(1e-12)))
            if cosine >= similarity:
                best, product, similarity = slot, found, cosine
    return best, product


@njit(cache=True, nogil=True)
def _free_slot(
    weight: NDArray[np.float32], last_us: NDArray[np.int64], now: np.int64, rate: float
) -> int:
    """Return an empty slot, or that of the least decayed weight."""
    least, smallest = 0, np.inf
    for slot in range(len(weight)):
        decayed = weight[slot] * np.exp(-rate * (now - last_us[slot]))
        if decayed < smallest:
            least, smallest = slot, decayed
    return least


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _decay_and_add(
    total: NDArray[np.float32], kept: np.float32, vector: NDArray[np.float32]
) -> None:
    for place in range(len(total)):
        total[place] = kept * total[place] + vector[place]


@njit(cache=True, nogil=True)
def _renumber_all(
    labels: NDArray[np.int32], offsets: NDArray[np.int64], max_interests: int
) -> None:
    for stretch in range(len(offsets) - 1):
        renumber(labels[offsets[stretch] : offsets[stretch + 1]], max_interests)
