"""The judge's numbers against scikit-learn's, and against the definitions that pROC documents.

pROC (Robin et al., BMC Bioinformatics 12, 2011) gives the AUC as the trapezoid under the
curve, and the paired test of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988) on
placements, which Sun and Xu (IEEE Signal Processing Letters 21, 2014) write as midranks.
Both are written out here as they are defined, with scipy's ranks.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn import metrics as sklearn

from ranking_eval.inference import compute_delong_variance
from ranking_eval.metrics import (
    compute_auc,
    compute_calibration_ratio,
    compute_grouped_auc,
    compute_log_loss,
    compute_ndcg,
    compute_normalized_entropy,
)

ROWS = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 6),
        st.integers(0, 6),
        st.integers(0, 4),
        st.floats(0.1, 5.0, allow_nan=False),
    ),
    min_size=4,
    max_size=60,
)


def unzip(rows):
    label, ours, theirs, group, weight = (np.array(column) for column in zip(*rows, strict=True))
    assume(2 <= label.sum() <= label.size - 2)
    return label.astype(int), (ours + 1) / 8, (theirs + 1) / 8, group, weight


@given(ROWS)
def test_auc_and_weighted_auc_are_scikit_learns(rows):
    label, scores, _, _, weight = unzip(rows)
    assert compute_auc(label, scores) == pytest.approx(
        sklearn.roc_auc_score(label, scores), abs=1e-12
    )
    assert compute_auc(label, scores, weight) == pytest.approx(
        sklearn.roc_auc_score(label, scores, sample_weight=weight), abs=1e-9
    )


@given(ROWS)
def test_log_loss_and_normalised_entropy_are_made_of_scikit_learns(rows):
    label, scores, _, _, weight = unzip(rows)
    loss = sklearn.log_loss(label, scores, sample_weight=weight)
    base = sklearn.log_loss(
        label, np.full(label.size, np.average(label, weights=weight)), sample_weight=weight
    )
    assert compute_log_loss(label, scores, weight) == pytest.approx(loss, rel=1e-9)
    assert compute_normalized_entropy(label, scores, weight) == pytest.approx(loss / base, rel=1e-9)
    assert compute_calibration_ratio(label, scores, weight) == pytest.approx(
        np.average(scores, weights=weight) / np.average(label, weights=weight), rel=1e-9
    )


@given(ROWS)
def test_grouped_auc_is_the_mean_of_scikit_learns(rows):
    label, scores, _, group, _ = unzip(rows)
    parts = [group == code for code in np.unique(group)]
    mixed = [part for part in parts if len(set(label[part])) == 2]
    assume(mixed)
    aucs = [sklearn.roc_auc_score(label[part], scores[part]) for part in mixed]
    found = compute_grouped_auc(label, scores, group)
    assert found.gauc_mean == pytest.approx(np.mean(aucs), abs=1e-12)
    sizes = [part.sum() for part in mixed]
    assert found.gauc_impr == pytest.approx(np.average(aucs, weights=sizes), abs=1e-12)


@given(ROWS, st.integers(1, 12))
def test_ndcg_of_one_list_is_scikit_learns(rows, k):
    label, scores, _, _, _ = unzip(rows)
    found = compute_ndcg(label, scores, np.zeros(label.size, int), k=k).value
    assert found == pytest.approx(sklearn.ndcg_score([label], [scores], k=k), abs=1e-9)


def place(label, scores):
    """Return the placements of positives and of negatives, from midranks."""
    positive = label == 1
    count, others = positive.sum(), (~positive).sum()
    ranks = rankdata(scores)
    of_positives = (ranks[positive] - rankdata(scores[positive])) / others
    of_negatives = 1 - (ranks[~positive] - rankdata(scores[~positive])) / count
    return of_positives, of_negatives


@given(ROWS)
def test_auc_is_the_mean_placement(rows):
    label, scores, _, _, _ = unzip(rows)
    of_positives, of_negatives = place(label, scores)
    assert of_positives.mean() == pytest.approx(compute_auc(label, scores), abs=1e-12)
    assert of_negatives.mean() == pytest.approx(compute_auc(label, scores), abs=1e-12)


def delong_variance(label, ours, theirs):
    """The variance of the difference by the 2 x 2 covariance of the placements."""
    (ours_positive, ours_negative), (theirs_positive, theirs_negative) = (
        place(label, scores) for scores in (ours, theirs)
    )
    covariance = np.cov(ours_positive, theirs_positive) / ours_positive.size
    covariance += np.cov(ours_negative, theirs_negative) / ours_negative.size
    return covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]


@given(ROWS)
def test_the_variance_of_two_arms_is_delongs_with_midranks(rows):
    label, ours, theirs, _, _ = unzip(rows)
    found = compute_delong_variance(label == 1, ours[None], theirs[None])
    assert found == pytest.approx(delong_variance(label, ours, theirs), abs=1e-12)


def test_delongs_test_holds_its_level_where_rows_are_independent():
    """The z test that pROC reports: 5 % false alarms in 400 worlds of two equal rankers."""
    draw, alarms, worlds = np.random.default_rng(0), 0, 400
    for _ in range(worlds):
        label = draw.integers(0, 2, 300)
        shared = draw.normal(size=300) + label
        ours, theirs = shared + draw.normal(size=(2, 300))
        variance = compute_delong_variance(label == 1, ours[None], theirs[None])
        difference = compute_auc(label, ours) - compute_auc(label, theirs)
        alarms += 2 * norm.sf(abs(difference) / np.sqrt(variance)) < 0.05
    assert 0.02 < alarms / worlds < 0.08
