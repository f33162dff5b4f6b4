"""Guards: what would make a lift worthless is an error that names rows.

Each leak here has been seen to fake a lift many times larger than a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ranking_eval.experiment import Artefact
from ranking_eval.rows import ORDER, name_rows
from ranking_eval.times import as_utc
from sail_features import columns as c
from sail_features.errors import MAX_IDS_SHOWN, EvaluationError, LeakageError

RowsError = Callable[[str, int, Sequence[object]], LeakageError]

TIMELESS: Final = "no column ends in {!r}: nothing to check there"


def check_feature_times(rows: pa.Table) -> str:
    """Check that features come from events strictly before their impression.

    Looks at every column whose name ends in ``feature_time``; null is allowed
    and means that no event entered the row's features. Returns what was checked.

    Raises
    ------
    LeakageError
        A feature time at or after the impression's time.

    Notes
    -----
    Point-in-time joins take the row at the very moment of the impression too,
    and the moment of an impression is often the moment of the click on it.
    """
    return _check_times(
        rows, c.FEATURE_TIME, pc.greater_equal, LeakageError.feature_from_future, "strictly before"
    )


def check_available(rows: pa.Table) -> str:
    """Check that feature rows could have been known at their impression.

    Looks at every column whose name ends in ``available_at``; null is allowed.
    Returns what was checked.

    Raises
    ------
    LeakageError
        A row that became available after the impression.
    """
    return _check_times(
        rows, c.AVAILABLE_AT, pc.greater, LeakageError.not_yet_available, "not after"
    )


def check_trained_until(artefacts: Sequence[Artefact], first_training_row: datetime) -> str:
    """Check that artefacts were fitted before the ranker's first training row.

    ``trained_until`` is exclusive, so it may equal that row's time. Returns what
    was checked.

    Raises
    ------
    LeakageError
        An artefact fitted on the ranker's own training period.

    Notes
    -----
    Trained later than the test begins, it leaks outright; between the two, its
    features are too good on training rows only, and the ranker over-trusts them.
    """
    for artefact in artefacts:
        if artefact.trained_until > first_training_row:
            raise LeakageError.trained_too_late(
                artefact.name, artefact.trained_until, first_training_row
            )
    if not artefacts:
        return "no artefact was declared: none to check"
    names = ", ".join(artefact.name for artefact in artefacts)
    return f"{names}: trained before the first training row at {first_training_row}"


def check_same_rows(frames: Mapping[str, pa.Table]) -> str:
    """Check that all arms have the same impressions with the same labels.

    Parameters
    ----------
    frames : rows of each arm by its name, in order of their key; the first is
        the reference.

    Raises
    ------
    EvaluationError
        Rows that one arm has and the reference hasn't, or the reverse.
    """
    reference, *others = frames
    expected = frames[reference].select([*ORDER, c.LABEL])
    for arm in others:
        got = frames[arm].select([*ORDER, c.LABEL])
        if not got.equals(expected):
            raise EvaluationError.rows_differ(arm, reference, _name_differences(got, expected))
    return f"all arms have the same {expected.num_rows:,} rows and labels"


def _name_differences(got: pa.Table, expected: pa.Table) -> list[str]:
    """Return the ids of rows that are in one of two tables only, or are typed differently."""
    if got.schema.types != expected.schema.types:
        return [f"columns of type {got.schema.types} instead of {expected.schema.types}"]
    keys = expected.column_names
    named = []
    for ours, theirs in ((got, expected), (expected, got)):
        alone = ours.join(theirs, keys, join_type="left anti")
        named += name_rows(alone, range(min(alone.num_rows, MAX_IDS_SHOWN)))
    return named[:MAX_IDS_SHOWN]


def _check_times(
    rows: pa.Table,
    suffix: str,
    is_late: Callable[[pa.ChunkedArray, pa.ChunkedArray], pa.ChunkedArray],
    error: RowsError,
    relation: str,
) -> str:
    names = [name for name in rows.column_names if name.endswith(suffix)]
    if not names:
        return TIMELESS.format(suffix)
    shown_at = as_utc(rows[c.EVENT_TIMESTAMP])
    for name in names:
        kind = rows[name].type
        if not (pa.types.is_timestamp(kind) or pa.types.is_null(kind)):
            raise EvaluationError.wrong_column(name, kind, "a timestamp")
        late = pc.indices_nonzero(pc.fill_null(is_late(as_utc(rows[name]), shown_at), False))
        if len(late):
            shown = name_rows(rows, late[:MAX_IDS_SHOWN].to_pylist())
            raise error(f"column {name!r}", len(late), shown)
    return f"{', '.join(names)}: {relation} the impression in all {rows.num_rows:,} rows"
