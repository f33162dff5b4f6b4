"""Whole tables of features again, by going over all events for each row.

`naive_match` and `naive_running_counts`: double precision, nothing sorted in advance,
nothing shared between rows: slow, and meant to be. What `naive_match` makes of a row's
history is told by `sail_features.testing.feature_oracles`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sail_features.history import HistoryWindow
from sail_features.match.block import HistoryView, MatchFeature, view_of
from sail_features.match.past import Past, PastEvent, PastInterest
from sail_features.testing.feature_oracles import Numbers, Oracle, oracle_of

US_PER_DAY = 24 * 60 * 60 * 1_000_000


class Event(NamedTuple):
    """One piece of feedback. Ids are strings or integers, times microseconds since 1970."""

    user: Any
    item: Any
    time_us: int
    weight: float
    event_type: str = ""


class Asked(NamedTuple):
    """One row to compute: a user, a target item, and the moment it is as of."""

    user: Any
    item: Any
    as_of_us: int


class Snapshot(NamedTuple):
    """A user's mined interests: (vector, weight, size, newest event's time, feedback) of each."""

    user: Any
    time_us: int
    available_at_us: int
    interests: Sequence[tuple[Numbers, float, int, int, float]]


class Counts(NamedTuple):
    """What `naive_running_counts` answers; ``days_since`` is NaN where nothing happened."""

    events: int
    recent: int
    liked: int
    positive_rate: float
    days_since: float


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
    window : the lookback, whose start is inclusive, the number of events kept, and how many
        of the newest are skipped.

    Notes
    -----
    Ties in time are ordered as `sail_features.match.events.sort_history` orders them: by
    item, weight and type; of equally old events at the edge, the later in that order
    stay.
    """
    seen = [
        event
        for event in events
        if event.user == user and as_of_us - window.lookback_us <= event.time_us < as_of_us
    ]
    seen.sort(key=lambda e: (e.time_us, e.item, e.weight, e.event_type), reverse=True)
    return seen[window.skip_newest :][: window.max_events]


def naive_match(
    rows: Iterable[Asked],
    events: Sequence[Event],
    vectors: Mapping[Any, Numbers],
    features: Sequence[MatchFeature],
    window: HistoryWindow,
    oracles: Sequence[Oracle] | None = None,
    *,
    category: Mapping[Any, Any] | None = None,
    snapshots: Sequence[Snapshot] = (),
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
    category : of the items that have one.
    snapshots : mined interests of all users, at any time, in any order.

    Examples
    --------
    >>> from datetime import timedelta
    >>> from sail_features.match.similarity_histogram import SimilarityHistogram
    >>> naive_match([Asked("ann", "tea", 20), Asked("ann", "mug", 20)],
    ...             [Event("ann", "mug", 10, 1.0), Event("ann", "tea", 20, 1.0)],
    ...             {"tea": [0.8, 0.6], "mug": [0.6, 0.8]}, [SimilarityHistogram((0.5, 0.97))],
    ...             HistoryWindow(timedelta(days=1), max_events=9))
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    chosen = oracles or [oracle_of(feature) for feature in features]
    answers = []
    for row in rows:
        if row.item not in vectors:
            answers.append([math.nan for feature in features for _ in feature.columns])
            continue
        newest = naive_history(row.user, row.as_of_us, events, window)
        interests = _naive_interests(row, vectors, snapshots)
        answers.append(
            [
                value
                for feature, oracle in zip(features, chosen, strict=True)
                for value in oracle(
                    _naive_past(row, newest, vectors, category or {}, view_of(feature), interests)
                )
            ]
        )
    return answers


def _naive_past(
    row: Asked,
    newest: Sequence[Event],
    vectors: Mapping[Any, Numbers],
    category: Mapping[Any, Any],
    view: HistoryView,
    interests: Sequence[PastInterest],
) -> Past:
    """Return what a row sees of its history, as far as one view shows it."""
    wanted = category.get(row.item)
    seen = [
        PastEvent(
            _dot(vectors[row.item], vectors[event.item]),
            event.weight,
            (row.as_of_us - event.time_us) / US_PER_DAY,
            wanted is not None and category.get(event.item) == wanted,
        )
        for event in newest
        if event.item in vectors
        and view.event_type in (None, event.event_type)
        and (view.window_days is None or _age_us(row, event) <= view.window_days * US_PER_DAY)
    ]
    return Past(seen, interests, len(newest) - len(seen), wanted is not None)


def _naive_interests(
    row: Asked, vectors: Mapping[Any, Numbers], snapshots: Sequence[Snapshot]
) -> list[PastInterest]:
    """Return the interests of the newest snapshot that a row may see."""
    known = [
        snapshot
        for snapshot in snapshots
        if snapshot.user == row.user
        and snapshot.time_us <= row.as_of_us
        and snapshot.available_at_us <= row.as_of_us
    ]
    newest = max(known, key=lambda snapshot: snapshot.time_us, default=None)
    return [
        PastInterest(
            _dot(vectors[row.item], vector),
            weight,
            size,
            (row.as_of_us - newest_us) / US_PER_DAY,
            feedback,
        )
        for vector, weight, size, newest_us, feedback in (newest.interests if newest else ())
    ]


def _age_us(row: Asked, event: Event) -> int:
    return row.as_of_us - event.time_us


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


def _dot(left: Numbers, right: Numbers) -> float:
    return sum(float(a) * float(b) for a, b in zip(left, right, strict=True))
