"""Which test rows belong together: cold items, new users, stretches of time, any column.

What a lift is worth depends on where it comes from: content features should help items
that nobody has seen yet, and must not harm the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranking_eval.matrix import is_categorical, is_numeric
from ranking_eval.metrics.arrays import Codes, Flags, Floats
from ranking_eval.rows import read_codes
from ranking_eval.split import Split
from ranking_eval.times import to_microseconds
from sail_features import columns as c
from sail_features.errors import EvaluationError

COUNT_EDGES: Final = (1, 10, 100)
"""Earlier rows of a user or an item are told apart as none, 1 to 9, 10 to 99, and more."""
QUARTERS: Final = 4
PARTS_OF_NUMBERS: Final = 5
MAX_VALUES: Final = 12
"""A column with more values than this is cut into ranges, or its rarer values joined."""
OTHERS: Final = "others"
MISSING: Final = "missing"

Parts = dict[str, Flags]


def cut_slices(rows: pa.Table, split: Split, names: Sequence[str]) -> Parts:
    """Return which test rows each slice has, by the slice's name.

    Parameters
    ----------
    rows : all rows of the evaluation.
    split : only what lies before ``test_start`` decides where numbers are cut and
        which values are frequent.
    names : of `DERIVED`, or columns: a number is cut into fifths, anything else
        into its values.

    Returns
    -------
    Flags of shape (test rows,); the slices of one name are disjoint and cover all rows.

    Raises
    ------
    EvaluationError
        A name is neither.
    """
    parts: Parts = {}
    for name in names:
        if name in DERIVED:
            found = DERIVED[name](rows, split)
        elif name in rows.column_names:
            found = _cut_column(rows[name].combine_chunks(), split, name)
        else:
            raise EvaluationError.unknown_slice(name, sorted(DERIVED))
        parts.update({f"{name}: {words}": flags for words, flags in found.items() if flags.any()})
    return parts


def _cut_by_earlier_rows(column: str) -> Callable[[pa.Table, Split], Parts]:
    def cut(rows: pa.Table, split: Split) -> Parts:
        codes = read_codes(rows, column)
        before = np.ones(rows.num_rows, bool)
        before[split.test] = False
        seen = np.bincount(codes[before], minlength=codes.max() + 1)[codes[split.test]]
        words = ["none", *(f"{a} to {b - 1}" for a, b in itertools.pairwise(COUNT_EDGES))]
        return _cut_numbers(seen, COUNT_EDGES, [*words, f"{COUNT_EDGES[-1]} and more"])

    return cut


def _cut_test_time(rows: pa.Table, split: Split) -> Parts:
    """Cut the test period into quarters of equal length."""
    times = to_microseconds(rows[c.EVENT_TIMESTAMP])[split.test]
    edges = np.linspace(times.min(), times.max(), QUARTERS + 1)[1:-1]
    return _cut_numbers(times, edges, [f"quarter {n}" for n in range(1, QUARTERS + 1)])


DERIVED: Final[Mapping[str, Callable[[pa.Table, Split], Parts]]] = {
    "item_earlier_rows": _cut_by_earlier_rows(c.ITEM_ID),
    "user_earlier_rows": _cut_by_earlier_rows(c.USER_ID),
    "test_time": _cut_test_time,
}
"""Slices that need no column: rows of the item or the user before the test begins, and
quarters of the test period."""


def _cut_column(column: pa.Array, split: Split, name: str) -> Parts:
    tested, before = column.take(pa.array(split.test)), column.take(pa.array(split.train))
    if is_numeric(column.type) and not pa.types.is_boolean(column.type):
        if pc.count_distinct(column).as_py() > MAX_VALUES:
            return _cut_range(tested, before)
    elif not (is_categorical(column.type) or pa.types.is_boolean(column.type)):
        raise EvaluationError.wrong_column(name, column.type, "a number, a string or true / false")
    return _cut_values(tested, before)


def _cut_range(tested: pa.Array, before: pa.Array) -> Parts:
    """Cut numbers at the fifths of the training rows."""
    known = before.cast(pa.float64()).drop_null().to_numpy(zero_copy_only=False)
    shares = np.arange(1, PARTS_OF_NUMBERS) / PARTS_OF_NUMBERS
    edges = np.unique(np.quantile(known[~np.isnan(known)], shares)) if known.size else np.empty(0)
    values = tested.cast(pa.float64()).to_numpy(zero_copy_only=False)
    words = [f"below {edges[0]:.4g}"] if edges.size else ["all"]
    words += [f"{a:.4g} to {b:.4g}" for a, b in itertools.pairwise(edges)]
    words += [f"from {edges[-1]:.4g}"] if edges.size else []
    missing = np.isnan(values)
    parts = _cut_numbers(values, edges, words)
    return {**{n: flags & ~missing for n, flags in parts.items()}, MISSING: missing}


def _cut_values(tested: pa.Array, before: pa.Array) -> Parts:
    """Give each of the most frequent values of the training rows a slice of its own."""
    texts = tested.cast(pa.string())
    counts = pc.value_counts(before.cast(pa.string()).drop_null()).to_pylist()
    frequent = sorted(counts, key=lambda pair: (-pair["counts"], pair["values"]))[:MAX_VALUES]
    parts = {pair["values"]: _flags(pc.equal(texts, pair["values"])) for pair in frequent}
    missing = _flags(pc.is_null(texts))
    named = np.logical_or.reduce([missing, *parts.values()])
    return {**dict(sorted(parts.items())), OTHERS: ~named, MISSING: missing}


def _cut_numbers(
    values: Floats | Codes, edges: Sequence[float] | Floats, words: list[str]
) -> Parts:
    places = np.searchsorted(np.asarray(edges), values, side="right")
    return {name: places == place for place, name in enumerate(words)}


def _flags(column: pa.Array) -> Flags:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
