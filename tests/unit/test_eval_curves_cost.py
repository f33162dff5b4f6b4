"""ROC and learning curves, costs, and the Pareto front."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from ranking_eval.cost import (
    Cost,
    GivenCost,
    check_costs,
    find_best_buys,
    measure_cost,
    stack_costs,
)
from ranking_eval.curves import trace_learning
from ranking_eval.inference import Lift
from ranking_eval.metrics import compute_auc
from ranking_eval.metrics.roc_curve import compute_roc_curve
from ranking_eval.pareto import find_front
from sail_features.errors import EvaluationError

rows_of_both = st.lists(
    st.tuples(st.booleans(), st.integers(-3, 3), st.integers(1, 4)), min_size=2, max_size=40
).filter(lambda rows: len({label for label, _, _ in rows}) == 2)


def unzip(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    return labels.astype(int), scores / 2, weights.astype(float)


@given(rows_of_both)
def test_every_point_of_the_roc_curve_is_scikit_learns(rows):
    labels, scores, weights = unzip(rows)
    found = compute_roc_curve(labels, scores, weights)
    false, true, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, false, atol=1e-12)
    np.testing.assert_allclose(found.true_positive_rate, true, atol=1e-12)


@given(rows_of_both)
def test_the_area_under_the_curve_is_the_auc(rows):
    labels, scores, weights = unzip(rows)
    curve = compute_roc_curve(labels, scores, weights)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(compute_auc(labels, scores, weights), abs=1e-12)


def test_a_thinned_curve_keeps_both_ends_and_few_points():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 5000)
    scores = draw.normal(size=5000) + labels
    whole, thin = (compute_roc_curve(labels, scores, points=points) for points in (None, 50))
    assert thin.true_positive_rate.size <= 50
    assert (thin.true_positive_rate[0], thin.true_positive_rate[-1]) == (0, 1)
    areas = [np.trapezoid(c.true_positive_rate, c.false_positive_rate) for c in (whole, thin)]
    assert areas[0] == pytest.approx(areas[1], abs=2e-3)


def test_one_label_has_no_roc_curve():
    with pytest.raises(EvaluationError, match="all 3 rows have label 1"):
        compute_roc_curve([1, 1, 1], [0.1, 0.2, 0.3])


def test_the_learning_curve_is_the_auc_of_so_many_rounds():
    import lightgbm as lgb

    draw = np.random.default_rng(0)
    values = draw.normal(size=(800, 3))
    labels = (draw.random(800) < 1 / (1 + np.exp(-values[:, 0]))).astype(np.int64)
    params = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 4}
    booster = lgb.train(params, lgb.Dataset(values, labels), num_boost_round=45)
    curve = trace_learning(booster.model_to_string(), values, labels)
    assert curve.rounds[0] == 1
    assert curve.rounds[-1] == 45
    for rounds, auc in zip(curve.rounds.tolist(), curve.auc, strict=True):
        expected = booster.predict(values, num_iteration=rounds, raw_score=True)
        assert auc == pytest.approx(compute_auc(labels, expected), abs=1e-9)


choices = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8
)


@given(choices)
def test_the_front_is_what_no_other_choice_dominates(choices):
    values, costs = np.array([one[0] for one in choices]), np.array([one[1:] for one in choices])

    def dominates(one, other):
        no_worse = one[0] >= other[0] and one[1] <= other[1] and one[2] <= other[2]
        return no_worse and one != other

    expected = [not any(dominates(one, other) for one in choices) for other in choices]
    assert find_front(values.astype(float), costs.astype(float)).tolist() == expected


def lift_of(delta):
    return Lift("auc", delta, delta - 0.01, delta + 0.01, 0.005, 80.0)


def test_only_costs_that_are_known_of_all_decide_what_is_worth_its_price():
    gains = {"small": lift_of(0.01), "large": lift_of(0.02), "odd": lift_of(0.01)}
    costs = {
        "small": Cost(online_ms=1.0, bytes_per_row=4),
        "large": Cost(bytes_per_row=40),
        "odd": Cost(online_ms=0.1, bytes_per_row=8),
    }
    assert stack_costs(list(costs.values()))[0] == ["bytes_per_row"]
    assert find_best_buys(gains, costs) == ("small", "large")


def test_bytes_are_those_that_a_row_holds_in_memory():
    rows = pa.table({"a": pa.array([1.0, 2.0], pa.float32()), "b": pa.array([1.0, 2.0])})
    assert measure_cost(rows, ["a"]).bytes_per_row == 4
    found = measure_cost(rows, ["a", "b"], GivenCost(online_ms=0.5))
    assert found.known() == {"online_ms": 0.5, "bytes_per_row": 12}


def test_costs_of_what_is_not_compared_or_below_zero_are_refused():
    with pytest.raises(EvaluationError, match="'contrst': nothing of this name is compared"):
        check_costs({"contrst": GivenCost()}, ["contrast"])
    with pytest.raises(EvaluationError, match="a cost is below 0"):
        check_costs({"contrast": GivenCost(online_ms=-1.0)}, ["contrast"])
