"""Tells whether a column knows the labels of the test before they are made.

A column of the past can know how often an item is clicked, but not by what chance the
test's own few rows deviate from that. So its correlation with the items' click rates in
the test is bounded: by the rates' reliability, which two random halves of the rows tell.
A mean that counts later rows, or its own, lies above the bound, however harmless its AUC
looks (a click rate of the future had .723 where an honest one had .703,
`judge_facts.md` 5.4). The same holds for users. The bound is the attenuation formula of
test theory; its use against leaks is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from ranking_eval.matrix import is_numeric
from ranking_eval.metrics.arrays import Codes, Flags, Floats
from ranking_eval.rows import read_codes
from ranking_eval.split import Split
from ranking_eval.times import to_microseconds
from sail_features import columns as c

LEAST_ROWS: Final = 6
"""Test rows that an item or a user needs to take part."""
LEAST_ENTITIES: Final = 50
BLOCKS: Final = 50
"""Blocks of entities that the jackknife leaves out."""
LEAST_EXCESS: Final = 0.03
"""By how much a squared correlation must exceed its bound to matter."""
EXCESS_ERRORS: Final = 4.0
"""... and how many standard errors it must be beyond that."""


class _Entities(NamedTuple):
    """Users or items with enough test rows; arrays of shape (entities,).

    Parameters
    ----------
    first_row : each one's first test row.
    one_half, other_half : mean labels of two halves of its test rows.
    block : of the jackknife.
    is_new : whether it has fewer rows before the test than in it.
    """

    first_row: Codes
    one_half: Floats
    other_half: Floats
    block: Codes
    is_new: Flags

    def keep(self, kept: Flags) -> _Entities:
        """Return some of them."""
        return _Entities(
            self.first_row[kept],
            self.one_half[kept],
            self.other_half[kept],
            self.block[kept],
            self.is_new[kept],
        )


def find_foresight(
    rows: pa.Table, columns: Sequence[str], labels: Codes, split: Split
) -> tuple[str, ...]:
    """Return the columns that know more of the test's labels than the past can tell.

    Parameters
    ----------
    rows, labels : of the evaluation.
    columns : names of features; those that are no numbers are passed over.

    Notes
    -----
    A column is read at the first test row of each item (each user), before any of its
    test labels exists. Its squared correlation with the mean label of all the test rows
    of the item is held against the reliability of these means (Spearman-Brown), with a
    jackknife over blocks of items. So are the items whose rows lie mostly in the test
    alone: a mean over all time is there a mean over the test.

    References
    ----------
    Spearman, "The Proof and Measurement of Association between Two Things", American
    Journal of Psychology 15, 1904.
    """
    found = []
    for entity in (c.ITEM_ID, c.USER_ID):
        entities = _collect(rows, labels, split, entity)
        for name in columns:
            if not is_numeric(rows[name].type):
                continue
            values = rows[name].cast(pa.float64(), safe=False).to_numpy()[entities.first_row]
            known = np.isfinite(values)
            groups = (known, known & entities.is_new)
            excess = max(_find_excess(entities.keep(group), values[group]) for group in groups)
            if excess > 0:
                found.append(
                    f"column {name!r}, at each {entity}'s first test row, knows its later labels "
                    f"better than any past could: r² is {excess:.2f} above what they allow"
                )
    return tuple(found)


def _find_excess(entities: _Entities, values: Floats) -> float:
    """Return by how much r² exceeds its bound where that is beyond chance, else 0."""
    if values.size < LEAST_ENTITIES or np.ptp(values) == 0:
        return 0.0
    excess, error = _measure(entities, values)
    return excess if excess > LEAST_EXCESS + EXCESS_ERRORS * error else 0.0


def _collect(rows: pa.Table, labels: Codes, split: Split, entity: str) -> _Entities:
    of_all = read_codes(rows, entity)
    codes = of_all[split.test]
    times = to_microseconds(rows[c.EVENT_TIMESTAMP])[split.test]
    draw = np.random.default_rng(0)
    # Rows in random order within each entity: even and odd places are its two halves.
    order = np.lexsort((draw.random(codes.size), codes))
    size = int(of_all.max()) + 1
    counts = np.bincount(codes, minlength=size)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.empty(codes.size, np.int64)
    place[order] = np.arange(codes.size) - start[codes[order]]
    label, odd = labels[split.test].astype(np.float64), place % 2 == 1
    halves = [
        np.bincount(codes[half], label[half], minlength=size)
        / np.maximum(np.bincount(codes[half], minlength=size), 1)
        for half in (odd, ~odd)
    ]
    by_time = np.lexsort((times, codes))
    first = by_time[np.minimum(start, codes.size - 1)]
    kept = counts >= LEAST_ROWS
    block = draw.permutation(int(kept.sum())) % BLOCKS
    is_new = np.bincount(of_all, minlength=size) < 2 * counts
    return _Entities(split.test[first[kept]], halves[0][kept], halves[1][kept], block, is_new[kept])


def _measure(entities: _Entities, values: Floats) -> tuple[float, float]:
    """Return the squared correlation less its bound, and its standard error."""
    columns = np.stack([values, entities.one_half, entities.other_half])
    columns = columns - columns.mean(axis=1, keepdims=True)
    products = np.einsum(
        "ae,be->eab", columns, np.concatenate([columns, np.ones((1, values.size))])
    )
    flat = products.reshape(values.size, -1).T
    in_blocks = [np.bincount(entities.block, one, minlength=BLOCKS) for one in flat]
    sums = np.stack(in_blocks, axis=1).reshape(BLOCKS, 3, 4)
    sizes = np.bincount(entities.block, minlength=BLOCKS).astype(np.float64)
    total, count = sums.sum(axis=0), sizes.sum()
    without = [
        _excess(total - one, count - size) for one, size in zip(sums, sizes, strict=True) if size
    ]
    blocks = len(without)
    error = np.sqrt((blocks - 1) / blocks * np.sum((np.array(without) - np.mean(without)) ** 2))
    return _excess(total, count), float(error)


def _excess(sums: Floats, count: float) -> float:
    """Return r² of the values and the mean label, less the mean label's reliability."""
    means = sums[:, 3] / count
    (value, with_one, with_other), (_, one, both), (_, _, other) = sums[:, :3] / count - np.outer(
        means, means
    )
    if value <= 0 or one <= 0 or other <= 0:
        return -1.0
    of_halves = max(both / np.sqrt(one * other), 0.0)
    reliability = 2 * of_halves / (1 + of_halves)
    with_mean, mean = (with_one + with_other) / 2, (one + other + 2 * both) / 4
    return float(with_mean**2 / (value * mean) - reliability) if mean > 0 else -1.0
