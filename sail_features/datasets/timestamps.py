"""Bring the times of a user's file to microseconds in UTC.

A log states times in one of four ways: with a zone, without one, as a number
since 1970, or as text. Local times can be ambiguous (an hour happens twice when
summer time ends) or non-existent (an hour is skipped when it begins): such rows
are kept under the named policies below and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from sail_features.errors import InputError
from sail_features.schemas import TIMESTAMP

TimeUnit = Literal["s", "ms", "us"]

AMBIGUOUS_LOCAL_TIME: Final = "ambiguous_local_time"
"""A local time that happened twice: the earlier moment is taken."""
NONEXISTENT_LOCAL_TIME: Final = "nonexistent_local_time"
"""A local time that was skipped: the first moment after the gap is taken."""

_LOCAL: Final = pa.timestamp("us")
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_LAST_US: Final = 253_402_300_799_000_000
"""The last second of the year 9999."""
_NUMBER: Final = r"^-?\d+(\.\d+)?$"
_ZONED: Final = r":\d\d(\.\d+)?\s?([Zz]|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True)
class TimeRule:
    """How a file states its times.

    Parameters
    ----------
    timezone : IANA zone of times that have none, for example ``Europe/London``.
    unit : unit of whole numbers since 1970-01-01 UTC.
    pattern : strptime pattern of text that isn't ISO 8601; the times are local.
    """

    timezone: str | None = None
    unit: TimeUnit | None = None
    pattern: str | None = None


def times_from_epoch(numbers: pa.ChunkedArray, unit: TimeUnit) -> pa.ChunkedArray:
    """Return UTC times from numbers of ``unit`` since 1970; null stays null.

    Examples
    --------
    >>> times_from_epoch(pa.chunked_array([[1]]), "ms")[0].as_py().isoformat()
    '1970-01-01T00:00:00.001000+00:00'
    """
    if pa.types.is_floating(numbers.type):
        numbers = pc.round(pc.multiply(numbers, float(_MICROSECONDS[unit]))).cast(pa.int64())
    else:
        numbers = pc.multiply(numbers.cast(pa.int64()), _MICROSECONDS[unit])
    return numbers.cast(TIMESTAMP)


def read_times(
    column: pa.ChunkedArray, rule: TimeRule, *, where: str, name: str
) -> tuple[pa.ChunkedArray, dict[str, int]]:
    """Return a column of times in UTC, and the rows that each policy touched.

    Parameters
    ----------
    column : times with or without a zone, dates (midnight is meant), numbers since
        1970, or text of these (ISO 8601, or ``rule.pattern``). Null stays null.
    rule : how to understand them.
    where, name : file and column, for the message.

    Raises
    ------
    InputError
        Local times without ``rule.timezone``, numbers without ``rule.unit`` or beyond its
        range, text
        that can't be parsed or has a zone in some rows only, or another type.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = _parse_text(column.cast(pa.string()), rule, where=where, name=name)
        kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(TIMESTAMP, safe=False), {}
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _localise(column.cast(_LOCAL, safe=False), rule, where=where, name=name)
    if pa.types.is_null(kind):
        return column.cast(TIMESTAMP), {}
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError.wrong_type(where, name, kind, "a time, a number since 1970 or text")
    if rule.unit is None:
        raise InputError.no_unit(where, name)
    greatest = pc.max(pc.abs(column)).as_py() or 0
    if greatest * _MICROSECONDS[rule.unit] > _LAST_US:
        raise InputError.wrong_unit(where, name, greatest, rule.unit)
    return times_from_epoch(column, rule.unit), {}


def _parse_text(
    column: pa.ChunkedArray, rule: TimeRule, *, where: str, name: str
) -> pa.ChunkedArray:
    """Return text as numbers since 1970, as local times, or as times with a zone."""
    try:
        if _all_match(column, _NUMBER):
            return column.cast(pa.float64() if _any_match(column, r"\.") else pa.int64())
        if rule.pattern is not None:
            return pc.strptime(column, format=rule.pattern, unit="us")
        if not _any_match(column, _ZONED):
            return column.cast(_LOCAL)
        return column.cast(TIMESTAMP)
    except pa.ArrowInvalid as error:
        raise InputError.time_unreadable(where, name, error) from error


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py())


def _any_match(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, pattern), min_count=0).as_py())


def _localise(
    local: pa.ChunkedArray, rule: TimeRule, *, where: str, name: str
) -> tuple[pa.ChunkedArray, dict[str, int]]:
    """Place local times in ``rule.timezone``; the two odd kinds by their policies."""
    if rule.timezone is None:
        raise InputError.no_zone(where, name)
    placed = pc.assume_timezone(local, rule.timezone, ambiguous="earliest", nonexistent="latest")
    twice = pc.assume_timezone(local, rule.timezone, ambiguous="latest", nonexistent="latest")
    skipped = pc.assume_timezone(local, rule.timezone, ambiguous="earliest", nonexistent="earliest")
    counts = {
        AMBIGUOUS_LOCAL_TIME: _count_different(placed, twice),
        NONEXISTENT_LOCAL_TIME: _count_different(placed, skipped),
    }
    return placed.cast(TIMESTAMP), counts


def _count_different(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.not_equal(left, right)).as_py() or 0)
