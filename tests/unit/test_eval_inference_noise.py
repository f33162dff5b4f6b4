"""Training noise, many looks, power, and the matrix that holds it all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ranking_eval.inference import (
    EVERY_ROW,
    ArmInfluence,
    JudgedRows,
    adjust_p_values,
    build_influence_matrix,
    compute_detectable_effect,
    compute_seeds_needed,
    compute_users_needed,
    load_training_noise,
    measure_training_noise,
)
from ranking_eval.inference.training_noise import compute_training_variance
from sail_features.errors import EvaluationError


def test_training_variance_leaves_out_the_noise_of_users():
    """Means over users of a shift of the whole fit and noise of each user."""
    draw = np.random.default_rng(0)
    fits, users = 400, 200
    shift, noise = draw.normal(0, 0.02, fits), draw.normal(0, 0.3, (users, fits))
    of_user = shift + noise
    values = of_user.mean(axis=0)
    influence = (of_user - values) / (users - 1)
    found = compute_training_variance(ArmInfluence(values, influence))
    assert found == pytest.approx(0.02**2, rel=0.15)
    assert found < 0.6 * values.var(ddof=1)


def test_training_variance_is_never_negative():
    influence = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert compute_training_variance(ArmInfluence(np.array([0.5, 0.5]), influence)) == 0


def make_matrix(fits, slices=None, metrics=("auc", "log_loss")):
    draw = np.random.default_rng(1)
    positive, users = draw.random(400) < 0.5, np.arange(400) % 40
    scores = draw.random((fits, 400))
    rows = JudgedRows.of(positive, users=users)
    return build_influence_matrix(rows, {"a": scores, "b": scores**2}, metrics, slices)


def test_training_noise_is_measured_for_every_metric_and_read_back(tmp_path):
    noise = measure_training_noise(make_matrix(10), "a", "rows")
    assert set(noise.variance) == {"auc", "log_loss"}
    assert noise.fits == 10
    noise.write(tmp_path / "deep" / "noise.json")
    assert load_training_noise(tmp_path / "deep" / "noise.json") == noise
    assert load_training_noise(tmp_path / "none.json") is None


def test_too_few_fits_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match="9 fits, expected at least 10"):
        measure_training_noise(make_matrix(9), "a", "rows")
    (tmp_path / "noise.json").write_text('{"fits": 10}')
    with pytest.raises(EvaluationError, match="eval calibrate"):
        load_training_noise(tmp_path / "noise.json")


def test_a_slice_of_the_matrix_equals_the_matrix_of_its_rows():
    inside = np.arange(400) % 40 < 25
    matrix = make_matrix(2, {"some": inside})
    draw = np.random.default_rng(1)
    positive = draw.random(400) < 0.5
    scores = draw.random((2, 400))[:, inside]
    rows = JudgedRows.of(positive[inside], users=(np.arange(400) % 40)[inside])
    alone = build_influence_matrix(rows, {"a": scores, "b": scores**2}, ["auc"])
    assert matrix.compare("auc", "b", "a", part="some") == alone.compare("auc", "b", "a")
    assert matrix.rows_of("auc", "some")[25:].tolist() == [0] * 15
    assert matrix.influence.shape == (40, 2, 2, 2, 2)
    assert matrix.slices == (EVERY_ROW, "some")


def test_a_slice_without_the_metric_says_why_and_spoils_nothing_else():
    matrix = make_matrix(1, {"one user": np.arange(400) % 40 == 0})
    assert matrix.undefined["auc", "one user"].startswith("auc interval: one cluster holds")
    with pytest.raises(EvaluationError, match="auc of one user"):
        matrix.compare("auc", "a", "b", part="one user")
    assert np.isfinite(matrix.compare("auc", "a", "b").low)


def test_a_slice_without_rows_says_so():
    matrix = make_matrix(1, {"none": np.zeros(400, bool)})
    assert matrix.undefined == {(m, "none"): f"{m}: no rows" for m in ("auc", "log_loss")}


def test_nan_scores_are_refused():
    rows = JudgedRows.of(np.array([True, False] * 4), users=np.arange(8) // 2)
    scores = np.full((1, 8), np.nan)
    with pytest.raises(EvaluationError, match="8 are NaN"):
        build_influence_matrix(rows, {"a": scores}, ["auc"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(p_values, level):
    """Step down: reject the smallest while it is at most level / (tests left)."""
    rejected = set()
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(place)
    adjusted = adjust_p_values(p_values)
    assert {place for place, p in enumerate(adjusted) if p <= level} == rejected
    assert (adjusted >= p_values).all()
    assert (adjusted <= 1).all()


def test_the_detectable_effect_is_found_in_80_of_100_runs():
    effect = compute_detectable_effect(0.5, 1e9)
    assert norm.sf(norm.ppf(0.975) - effect / 0.5) == pytest.approx(0.8, abs=1e-6)
    assert compute_detectable_effect(0.5, 5) > effect


def test_users_and_seeds_needed_bring_the_detectable_effect_down_to_the_wanted_one():
    wanted, user_error, training_error = 0.001, 0.0006, 0.0002
    pilot = {"user_error": user_error, "training_error": training_error}
    users = compute_users_needed(wanted, users=500, **pilot)
    error = np.hypot(user_error * np.sqrt(500 / users), training_error)
    assert compute_detectable_effect(error, np.inf) == pytest.approx(wanted, rel=2e-3)
    seeds = compute_seeds_needed(0.00175, seeds=3, **pilot)
    detectable = {
        count: compute_detectable_effect(np.hypot(user_error, 2e-4 * (3 / count) ** 0.5), np.inf)
        for count in (seeds - 1, seeds)
    }
    assert detectable[seeds] <= 0.00175 < detectable[seeds - 1]


def test_an_effect_below_the_other_noise_needs_what_nothing_can_give():
    assert compute_users_needed(1e-3, users=9, user_error=1e-3, training_error=1e-3) is None
    assert compute_seeds_needed(1e-3, seeds=3, user_error=1e-3, training_error=1e-3) is None
