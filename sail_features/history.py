"""Which past events a row may see: sorted once, then a slice a row.

Times are int64 microseconds since 1970 UTC. A row as of s sees events in
[s - lookback, s): an event at s itself is not seen, so a row stamped s can be
joined inclusively, which is how Feast joins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from sail_features.config import HistoryConfig
from sail_features.errors import ConfigError
from sail_features.schemas import TIMESTAMP

MICROSECOND: Final = timedelta(microseconds=1)
US_PER_DAY: Final = 86_400_000_000
NEVER_US: Final = int(np.iinfo(np.int64).min)
"""Stands for "no time" among microseconds."""


@dataclass(frozen=True)
class HistoryWindow:
    """How far back a history reaches, and how many events it holds at most.

    Parameters
    ----------
    lookback : events older than this are not seen.
    max_events : the newest this many are kept.
    lag : an impression at t is matched as of t - lag.
    skip_newest : so many of the newest events are not seen; for arms that must do without.

    Raises
    ------
    ConfigError
        A length that is zero or negative, or a negative ``skip_newest``.
    """

    lookback: timedelta
    max_events: int
    lag: timedelta = MICROSECOND
    skip_newest: int = 0

    def __post_init__(self) -> None:
        """Refuse windows that hold nothing, or that would see the impression itself."""
        if self.lookback < MICROSECOND or self.max_events < 1 or self.lag < MICROSECOND:
            raise ConfigError.say(
                "history",
                f"lookback {self.lookback}, max_events {self.max_events}, lag {self.lag}",
                hint="all three must be positive; the lag at least a microsecond",
            )
        if self.skip_newest < 0:
            raise ConfigError.say(
                "history", f"skip_newest {self.skip_newest}", hint="0 or more events can be skipped"
            )

    @classmethod
    def from_config(cls, config: HistoryConfig) -> HistoryWindow:
        """Build the window that ``sail.yaml`` describes."""
        return cls(timedelta(days=config.lookback_days), config.max_events, config.lag)

    @property
    def lookback_us(self) -> int:
        """``lookback`` in microseconds."""
        return self.lookback // MICROSECOND

    @property
    def lag_us(self) -> int:
        """``lag`` in microseconds."""
        return self.lag // MICROSECOND


@dataclass(frozen=True)
class HistoryCut:
    """How much of its history an arm does without, to tell a leak from a lift.

    Parameters
    ----------
    delay : the history ends so much earlier than ``lag`` says.
    newest : and without so many of the newest events before that.
    """

    delay: timedelta = timedelta(0)
    newest: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything is cut."""
        return bool(self.delay or self.newest)


@dataclass(frozen=True)
class EventLog:
    """Events sorted by owner and time; owners are users, items or pairs.

    Parameters
    ----------
    owner : shape (events,), int64 codes, ascending.
    time_us : shape (events,), int64, ascending within an owner.
    item : shape (events,), int64 row of the item's vector, or any item code.
    weight : shape (events,), float32 signed feedback.

    Build one with `sort_events`; this constructor trusts its input.
    """

    owner: NDArray[np.int64]
    time_us: NDArray[np.int64]
    item: NDArray[np.int64]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.owner)


def sort_events(
    owner: NDArray[np.int64],
    time_us: NDArray[np.int64],
    item: NDArray[np.int64],
    weight: NDArray[np.float32],
) -> EventLog:
    """Sort events by owner and time; ties by item, then weight, so that order is fixed."""
    order = np.lexsort((weight, item, time_us, owner))
    return EventLog(owner[order], time_us[order], item[order], weight[order])


@dataclass(frozen=True)
class HistorySlices:
    """For each row the slice [start, stop) of an `EventLog` that it may see."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def count(self) -> NDArray[np.int64]:
        """How many events each row sees."""
        return self.stop - self.start


def compute_slices(
    log: EventLog,
    owner: NDArray[np.int64],
    as_of_us: NDArray[np.int64],
    window: HistoryWindow,
) -> HistorySlices:
    """Find, for each row, the newest events strictly before its moment.

    Parameters
    ----------
    log : the events.
    owner, as_of_us : shape (rows,); rows may come in any order.
    window : lookback and length.

    Notes
    -----
    An event at ``as_of_us`` is not seen, whatever the order of ties; one at
    exactly ``as_of_us - lookback`` is. Cost: O((rows + events) log events); no
    list is made for any row.

    Examples
    --------
    >>> log = sort_events(*(np.array(x) for x in ([7, 7, 7], [10, 20, 30], [0, 1, 2], [1, 1, 1])))
    >>> two = HistoryWindow(timedelta(days=1), max_events=2)
    >>> s = compute_slices(log, np.array([7, 7, 8]), np.array([30, 31, 99]), two)
    >>> s.start.tolist(), s.stop.tolist()
    ([0, 1, 3], [2, 3, 3])
    >>> older = HistoryWindow(timedelta(days=1), max_events=2, skip_newest=1)
    >>> s = compute_slices(log, np.array([7, 8]), np.array([31, 99]), older)
    >>> s.start.tolist(), s.stop.tolist()
    ([0, 3], [2, 3])
    """
    stop = count_before(log, owner, as_of_us)
    oldest = count_before(log, owner, as_of_us - window.lookback_us)
    if window.skip_newest:
        stop = np.maximum(oldest, stop - window.skip_newest)
    return HistorySlices(np.maximum(oldest, stop - window.max_events), stop)


def count_before(
    log: EventLog, owner: NDArray[np.int64], time_us: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the position in ``log`` after each owner's last event before ``time_us``.

    The difference to the position of the owner's first event is the number of
    events strictly before that time.
    """
    positions: NDArray[np.int64] = _lower_bounds(log.owner, log.time_us, owner, time_us)
    return positions


@njit(cache=True, nogil=True)
def _lower_bounds(
    owners: NDArray[np.int64],
    times_us: NDArray[np.int64],
    owner: NDArray[np.int64],
    time_us: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the first position at or after each (owner, time) in a sorted log.

    The search starts where the row before was found and doubles its steps, so rows
    that come in order cost next to nothing.
    """
    found = np.empty(len(owner), np.int64)
    low = 0
    for row in range(len(owner)):
        who, when = owner[row], time_us[row]
        if low and not _is_before(owners, times_us, low - 1, who, when):
            low = 0
        step = 1
        while low + step <= len(owners) and _is_before(owners, times_us, low + step - 1, who, when):
            low += step
            step *= 2
        high = min(low + step, len(owners) + 1) - 1
        while low < high:
            middle = (low + high) // 2
            if _is_before(owners, times_us, middle, who, when):
                low = middle + 1
            else:
                high = middle
        found[row] = low
    return found


@njit(cache=True, nogil=True)
def _is_before(
    owners: NDArray[np.int64], times_us: NDArray[np.int64], position: int, who: int, when: int
) -> bool:
    if owners[position] != who:
        return bool(owners[position] < who)
    return bool(times_us[position] < when)


def to_us(moment: datetime) -> int:
    """Return a moment with a zone as microseconds since 1970 UTC."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


def codes_of(*columns: NDArray[Any]) -> list[NDArray[np.int64]]:
    """Give equal values of several arrays of ids the same int64 code, in sorted order.

    Examples
    --------
    >>> codes_of(np.array(["b", "a"]), np.array(["c", "b"]))
    [array([1, 0]), array([2, 1])]
    """
    lengths = np.cumsum([len(column) for column in columns])[:-1]
    _, codes = np.unique(np.concatenate(columns), return_inverse=True)
    return [part.astype(np.int64) for part in np.split(codes, lengths)]


def times_of(time_us: NDArray[np.int64]) -> pa.Array:
    """Return microseconds as timestamps, null where `NEVER_US`."""
    return pa.array(time_us, mask=time_us == NEVER_US).cast(TIMESTAMP)


def us_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return timestamps as microseconds since 1970 UTC, `NEVER_US` where null."""
    whole = column.cast(TIMESTAMP).cast(pa.int64())
    values: NDArray[np.int64] = whole.fill_null(NEVER_US).to_numpy()
    return values


def ids_of(column: pa.ChunkedArray) -> NDArray[np.generic]:
    """Return ids as int64 or as fixed-width strings, which numpy sorts and compares fast."""
    if pa.types.is_integer(column.type):
        whole: NDArray[np.generic] = column.to_numpy()
        return whole
    return np.asarray(column.to_numpy(), dtype=np.str_)
