"""The log of the synthetic world: what was shown, clicked and bought.

What is shown depends on popularity alone, never on interests: so in a world
without a content effect nothing about content can predict a click.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sail_features.datasets.synthetic_items import Floats, Ints, SyntheticItems
from sail_features.datasets.synthetic_users import SyntheticUsers

SHOWN: Final = 8
"""Items of a request; chosen here, as are the figures below."""

DAY_US: Final = 86_400_000_000
_SECOND_US: Final = 1_000_000
_DRAWS: Final = 3 * SHOWN
_REQUESTS_PER_SESSION: Final = 2
_REQUEST_GAP_S: Final = 180.0
_INTERCEPT: Final = -2.6
_MATCH_EFFECT: Final = 1.0
"""Logits for one standard deviation of match, times the world's content lift."""
_POPULARITY_EFFECT: Final = 0.4
_NOISE: Final = 0.3
_CLICK_DELAY_S: Final = (3.0, 30.0, 600.0)
"""Least, median and greatest time from impression to click."""
_PURCHASE_SHARE: Final = 0.15
_PURCHASE_DELAY_S: Final = 3_600.0


@dataclass(frozen=True)
class Exposures:
    """What was shown: request, user, item number and microseconds since the start."""

    requests: Ints
    users: Ints
    items: Ints
    times: Ints

    @property
    def days(self) -> Floats:
        """Times in days since the log's start."""
        return self.times / DAY_US


def draw_exposures(
    count: int,
    days: float,
    users: SyntheticUsers,
    items: SyntheticItems,
    rng: np.random.Generator,
) -> Exposures:
    """Draw ``count`` impressions in requests of `SHOWN`, in the order of time.

    A request shows distinct items, drawn by popularity from those that have arrived
    before it. Fewer impressions come back only where the catalogue is tiny.
    """
    request_users, times = _draw_requests(-(-count // SHOWN), days, users.activity, rng)
    shown = _draw_shown(times, items, rng)
    requests, place = np.nonzero(shown >= 0)
    return Exposures(
        requests=requests[:count],
        users=request_users[requests][:count],
        items=shown[requests, place][:count],
        times=times[requests][:count],
    )


def _draw_requests(
    count: int, days: float, activity: Floats, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return the user and time of each request: sessions of about two, minutes apart."""
    sessions = max(1, count // _REQUESTS_PER_SESSION)
    session = np.sort(rng.integers(sessions, size=count))
    place = np.arange(count) - np.searchsorted(session, session)
    start = rng.random(sessions) * days * DAY_US
    gap = _REQUEST_GAP_S * (place + rng.random(count)) * _SECOND_US
    times = (start[session] + gap).astype(np.int64)
    users = rng.choice(len(activity), size=sessions, p=activity)[session]
    order = np.argsort(times, kind="stable")
    return users[order], times[order]


def _draw_shown(times: Ints, items: SyntheticItems, rng: np.random.Generator) -> Ints:
    """Return (requests, `_DRAWS`) items, -1 beyond the first `SHOWN` distinct ones."""
    by_arrival = np.argsort(items.arrival_days, kind="stable")
    arrivals = (items.arrival_days[by_arrival] * DAY_US).astype(np.int64)
    live = np.searchsorted(arrivals, times)
    total = np.concatenate([[0.0], np.cumsum(items.popularity[by_arrival])])
    target = rng.random((len(times), _DRAWS)) * total[live][:, None]
    drawn = by_arrival[np.searchsorted(total, target, side="right") - 1]
    fresh = _is_first(drawn)
    kept = fresh & (np.cumsum(fresh, axis=1) <= SHOWN)
    return np.where(kept, drawn, -1)


def _is_first(rows: Ints) -> NDArray[np.bool_]:
    """Return whether each value is the first of its kind in its row."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    first = np.ones(rows.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, axis=1)
    return result


@dataclass(frozen=True)
class Clicks:
    """Which impressions were clicked, and the truth behind it, a row an impression.

    Parameters
    ----------
    clicked : whether.
    match : greatest cosine of the user's interests to the item at that time.
    probability : of a click.
    probability_without_content : the same with the match left out: what a ranker
        that knows all but content could know.
    """

    clicked: NDArray[np.bool_]
    match: Floats
    probability: Floats
    probability_without_content: Floats


def draw_clicks(
    exposures: Exposures,
    users: SyntheticUsers,
    items: SyntheticItems,
    *,
    content_lift: float,
    rng: np.random.Generator,
) -> Clicks:
    """Draw clicks from logits of match (times ``content_lift``), popularity, user and noise."""
    match = users.match(exposures.users, exposures.days, items.latents[exposures.items])
    popularity = standardise(np.log(items.popularity[exposures.items]))
    noise = rng.normal(0.0, _NOISE, size=len(match))
    ordinary = _INTERCEPT + _POPULARITY_EFFECT * popularity + users.bias[exposures.users] + noise
    logits = ordinary + content_lift * _MATCH_EFFECT * standardise(match)
    probability = _sigmoid(logits)
    return Clicks(
        clicked=rng.random(len(match)) < probability,
        match=match,
        probability=probability,
        probability_without_content=_sigmoid(ordinary),
    )


def standardise(values: Floats) -> Floats:
    """Return values with mean 0 and standard deviation 1."""
    result: Floats = (values - values.mean()) / values.std()
    return result


def _sigmoid(logits: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-logits))
    return result


def draw_event_times(clicked_at: Ints, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Return the times of clicks, and the rows and times of the purchases that follow.

    ``clicked_at`` holds the times of the clicked impressions.
    """
    least, median, greatest = _CLICK_DELAY_S
    delay = np.clip(median * rng.lognormal(0.0, 1.0, size=len(clicked_at)), least, greatest)
    clicks = clicked_at + (delay * _SECOND_US).astype(np.int64)
    bought = np.flatnonzero(rng.random(len(clicks)) < _PURCHASE_SHARE)
    later = _PURCHASE_DELAY_S * rng.lognormal(0.0, 1.0, size=len(bought))
    return clicks, bought, clicks[bought] + (later * _SECOND_US).astype(np.int64)
