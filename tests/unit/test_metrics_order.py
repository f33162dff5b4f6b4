"""The order of scores and the pairs counted from it, against sorting and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking_eval.metrics.group_wins import FEW_PAIRS, count_group_wins
from ranking_eval.metrics.score_order import order_scores
from ranking_eval.metrics.wins import count_wins

floats = st.floats(allow_nan=False)


def check_order(scores):
    order = order_scores(scores)
    expected = np.argsort(scores, kind="stable")
    np.testing.assert_array_equal(order.rows, expected)
    ordered = scores[expected]
    starts = [row for row in range(scores.size) if row == 0 or ordered[row] != ordered[row - 1]]
    np.testing.assert_array_equal(order.starts, [*starts, scores.size])


@given(st.lists(floats, min_size=1, max_size=60))
def test_the_order_is_that_of_a_stable_sort(values):
    check_order(np.array(values))


@pytest.mark.parametrize("rows", [1, 2, 1000, 70_000])
@pytest.mark.parametrize(
    "make",
    [
        lambda draw, rows: draw.random(rows),
        lambda draw, rows: np.round(draw.random(rows), 2),
        lambda draw, rows: np.full(rows, 0.3),
        lambda draw, rows: draw.normal(size=rows) * 10.0 ** draw.integers(-300, 300, rows),
        lambda draw, rows: 1.0 + draw.integers(0, 4, rows) * np.finfo(float).eps,
        lambda draw, rows: draw.choice([-np.inf, -0.0, 0.0, 5e-324, np.inf], rows),
    ],
    ids=["uniform", "ties", "constant", "all scales", "last bits", "special"],
)
def test_the_order_is_exact_for_scores_of_every_kind(make, rows):
    check_order(make(np.random.default_rng(rows), rows))


def make_rows(seed, rows=300):
    draw = np.random.default_rng(seed)
    positive, scores = draw.random(rows) < 0.4, np.round(draw.random(rows), 1)
    return positive, scores, draw.integers(0, 3, rows) / 2, draw


def weigh_won(positive, scores, weights, inside, outside):
    """Sum over pairs of a positive of ``inside`` and a negative of ``outside``."""
    won = 0.0
    for row in np.flatnonzero(positive & inside):
        for other in np.flatnonzero(~positive & outside):
            outcome = 0.5 * (1 + np.sign(scores[row] - scores[other]))
            won += weights[row] * weights[other] * outcome
    return won


@pytest.mark.parametrize("seed", [0, 1])
def test_wins_of_cells_equal_the_loops_over_pairs(seed):
    positive, scores, weights, draw = make_rows(seed)
    cells = draw.integers(0, 6, positive.size)
    group_of_cell = np.array([0, 0, 1, 1, 1, 2])
    found = count_wins(order_scores(scores), positive, weights, cells, group_of_cell)
    for cell in range(6):
        own, group = cells == cell, group_of_cell[cells] == group_of_cell[cell]
        rows = positive, scores, weights
        assert found.of_positives[cell] == pytest.approx(weigh_won(*rows, own, group))
        assert found.of_negatives[cell] == pytest.approx(weigh_won(*rows, group, own))
        assert found.within[cell] == pytest.approx(weigh_won(*rows, own, own))
        assert found.positives[cell] == weights[own & positive].sum()
        assert found.negatives[cell] == weights[own & ~positive].sum()


@pytest.mark.parametrize("groups", [1, 40])
def test_wins_of_groups_equal_those_of_cells_in_long_and_short_groups(groups):
    positive, scores, weights, draw = make_rows(3, rows=600)
    of_row = draw.integers(0, groups, positive.size)
    pairs = [
        (positive & (of_row == g)).sum() * (~positive & (of_row == g)).sum() for g in range(groups)
    ]
    assert (max(pairs) > FEW_PAIRS) == (groups == 1)
    alone = np.arange(groups)
    expected = count_wins(order_scores(scores), positive, weights, of_row, alone)
    found = count_group_wins(positive, scores, weights, of_row, size=groups + 1)
    np.testing.assert_allclose(found.wins, [*expected.within, 0])
    np.testing.assert_array_equal(found.positives, [*expected.positives, 0])
    np.testing.assert_array_equal(found.negatives, [*expected.negatives, 0])
