"""Pairs in the right order: what AUC, grouped AUC and their intervals are counted from.

A row *wins* against a row of the other label when the positive of the two is
scored higher; a tie is half a win. Pairs are counted within a group. Each group is
cut into cells, such as its users, and all is summed by cell: what a cell's rows win
in their group, and what they win among themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ranking_eval.metrics.arrays import Codes, Flags, Floats
from ranking_eval.metrics.score_order import ScoreOrder


class CellWins(NamedTuple):
    """Sums over the rows of each cell, arrays of shape (cells,).

    A pair counts by the product of its rows' weights.

    Parameters
    ----------
    of_positives : what the cell's positives win against all negatives of the group.
    of_negatives : what all positives of the group win against the cell's negatives.
    within : what the cell's positives win against the cell's negatives.
    positives, negatives : weight of the cell's rows of either label.
    """

    of_positives: Floats
    of_negatives: Floats
    within: Floats
    positives: Floats
    negatives: Floats


def count_wins(
    order: ScoreOrder, positive: Flags, weights: Floats, cells: Codes, group_of_cell: Codes
) -> CellWins:
    """Count the pairs in the right order.

    Parameters
    ----------
    order : of the rows' scores.
    positive, weights, cells : one a row; cells are codes from 0.
    group_of_cell : shape (cells,), codes from 0.

    Notes
    -----
    Exact where weights are whole numbers. O(rows): one pass by ascending score.
    """
    sums = np.zeros((group_of_cell.size, len(CellWins._fields)))
    seen = np.zeros((int(group_of_cell.max()) + 1, 2))
    # Gathered beforehand: the pass then waits for no row.
    signed = (cells * 2 + positive)[order.rows]
    _scan(order.starts, signed, weights[order.rows], group_of_cell, sums, seen)
    found = CellWins(*np.ascontiguousarray(sums.T))
    of_negatives = seen[group_of_cell, 1] * found.negatives - found.of_negatives
    return found._replace(of_negatives=of_negatives)


@njit(cache=True, nogil=True)
def _scan(
    starts: Codes,
    signed: Codes,
    weights: Floats,
    group_of_cell: Codes,
    sums: Floats,
    seen: Floats,
) -> None:
    """Fill ``sums``, shape (cells, 5), and ``seen``, weight of each label by group.

    Rows come by ascending score; ``signed`` is twice the cell, and 1 more for a
    positive. For negatives the pairs that are *lost* are summed. Half of what was
    seen before a run of ties and half of what was seen after it count: so ties are
    half a win.
    """
    for run in range(starts.size - 1):
        begin, end = starts[run], starts[run + 1]
        share = 1.0 if end - begin == 1 else 0.5
        for place in range(begin, end):
            _add(signed[place], weights[place] * share, group_of_cell, sums, seen)
        for place in range(begin, end):
            cell, label = signed[place] >> 1, signed[place] & 1
            sums[cell, 4 - label] += weights[place]
            seen[group_of_cell[cell], label] += weights[place]
        if end - begin > 1:
            for place in range(begin, end):
                _add(signed[place], weights[place] * share, group_of_cell, sums, seen)


@njit(cache=True, nogil=True)
def _add(code: int, weight: float, group_of_cell: Codes, sums: Floats, seen: Floats) -> None:
    """Count a row's pairs with the rows of the other label that were seen."""
    cell, label = code >> 1, code & 1
    sums[cell, 1 - label] += weight * seen[group_of_cell[cell], 1 - label]
    if label:
        sums[cell, 2] += weight * sums[cell, 4]
