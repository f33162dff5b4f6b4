"""Which items are live at a moment, and which a user has already met.

Plain numpy over whole-number codes of items and users and times in microseconds;
all windows are half-open: what happens at t itself isn't seen at t.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LIVE_FOR_DAYS: Final = 30
_LIVE_FOR_US: Final = LIVE_FOR_DAYS * 86_400_000_000


class LiveCatalogue:
    """Items with an event in the 30 days before a moment that were known before it.

    Parameters
    ----------
    items, times : (events,) item code and time of each event.
    known_from : (items,) when each item's content became known.
    """

    def __init__(self, items: Ints, times: Ints, *, known_from: Ints) -> None:
        order = np.argsort(times, kind="stable")
        self._items, self._times = items[order], times[order]
        self._known_from = known_from
        self._previous = _previous_of_same(self._items)
        self._moments = np.unique(times)
        self._uses = np.sort(self._use_keys(items, times))

    @property
    def item_count(self) -> int:
        """Items in the whole catalogue, live or not."""
        return len(self._known_from)

    def contains(self, items: Ints, times: Ints) -> Bools:
        """Return whether each item is live at its time; never for item -1."""
        last = np.searchsorted(self._uses, self._use_keys(items, times)) - 1
        key = self._uses[np.maximum(last, 0)]
        item, moment = np.divmod(key, len(self._moments) + 1)
        recent = self._moments[moment] >= times - _LIVE_FOR_US
        live: Bools = (last >= 0) & (item == items) & recent
        return live & (self._known_from[items] < times)

    def _use_keys(self, items: Ints, times: Ints) -> Ints:
        """Return keys that sort by item, then by time."""
        return items * (len(self._moments) + 1) + np.searchsorted(self._moments, times)

    def draw_by_popularity(self, times: Ints, rng: np.random.Generator) -> Ints:
        """Draw an event of the 30 days before each time, and return its item (-1: none)."""
        event, _ = self._draw_events(times, rng)
        return np.where(event >= 0, self._items[event], -1)

    def draw_uniformly(self, times: Ints, rng: np.random.Generator, attempt: int) -> Ints:
        """Propose items such that those which `contains` accepts are uniformly drawn.

        Even attempts draw from the whole catalogue: good where most of it is live.
        Odd ones draw an event, and take its item if the event is the item's first in
        the window (else -1): good where most items have few events. Each is uniform
        over the live items, so that their mixture is.
        """
        if attempt % 2 == 0:
            return rng.integers(self.item_count, size=len(times))
        event, first = self._draw_events(times, rng)
        is_first_use = (event >= 0) & (self._previous[event] < first)
        return np.where(is_first_use, self._items[event], -1)

    def _draw_events(self, times: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return an event of each window (-1: it is empty) and the window's first."""
        first = np.searchsorted(self._times, times - _LIVE_FOR_US)
        end = np.searchsorted(self._times, times)
        event = first + (rng.random(len(times)) * (end - first)).astype(np.int64)
        return np.where(end > first, event, -1), first


def _previous_of_same(items: Ints) -> Ints:
    """Return the position of the previous event of each event's item, -1 for its first."""
    order = np.argsort(items, kind="stable")
    previous = np.full(len(items), -1, np.int64)
    same = items[order[1:]] == items[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    return previous


class FirstTouches:
    """When each user first met each item.

    Parameters
    ----------
    users, items, times : (touches,) codes and time of each event or positive.
    item_count : items in the catalogue.
    """

    def __init__(self, users: Ints, items: Ints, times: Ints, *, item_count: int) -> None:
        self._item_count = item_count
        pairs = users * item_count + items
        order = np.lexsort((times, pairs))
        self._pairs, first = np.unique(pairs[order], return_index=True)
        self._times = times[order][first]

    def touched(self, users: Ints, items: Ints, times: Ints) -> Bools:
        """Return whether the user met the item at or before the time."""
        pairs = users * self._item_count + items
        found = np.minimum(np.searchsorted(self._pairs, pairs), len(self._pairs) - 1)
        met: Bools = (self._pairs[found] == pairs) & (self._times[found] <= times)
        return met
