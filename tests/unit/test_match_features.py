"""Each match feature: the behaviour suite, its oracle, and cases with an obvious answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.config import MatchConfig
from sail_features.errors import ConfigError, InputError
from sail_features.match.block import HistoryBlock
from sail_features.match.contrast import Contrast
from sail_features.match.family import build_features, columns_of, feature_set_id
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.neighbour_feedback import NeighbourFeedback
from sail_features.match.similarity_histogram import SimilarityHistogram, equal_edges, fit_edges
from sail_features.match.similarity_statistics import SimilarityStatistics
from sail_features.testing.match_feature_suite import check_match_feature
from sail_features.testing.oracles import oracle_of

FEATURES = [
    *build_features(MatchConfig()),
    *build_features(MatchConfig(histogram_bins=2, neighbours=1, half_life_days=0.5)),
    SimilarityHistogram(edges=(-0.9, 0.1, 0.12, 0.95)),
    NeighbourFeedback(neighbours=3),
]


def block(*histories: tuple[list[float], list[float], list[float]]) -> HistoryBlock:
    """Return a block of one row a history: (similarities, weights, ages), newest first."""
    width = max((len(history[0]) for history in histories), default=0)
    arrays = [np.full((len(histories), width), np.nan, np.float32) for _ in range(3)]
    seen = np.zeros((len(histories), width), bool)
    for row, history in enumerate(histories):
        seen[row, : len(history[0])] = True
        for array, values in zip(arrays, history, strict=True):
            array[row, : len(values)] = values
    return HistoryBlock(*arrays, seen)


def compute(feature, similarities, weights, ages=None) -> dict[str, float]:
    ages = [1.0] * len(weights) if ages is None else ages
    values = feature.compute(block((similarities, weights, ages)))[0]
    return dict(zip(feature.columns, values.tolist(), strict=True))


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: repr(feature)[:60])
def test_feature_keeps_the_promises_of_the_suite(feature):
    check_match_feature(feature, oracle_of(feature))


number = st.floats(-1, 1, width=32).map(lambda value: round(value, 3))
histories = st.lists(
    st.lists(st.tuples(number, st.sampled_from([-1.0, -0.5, 0.0, 1.0, 2.0]), st.floats(0, 900))),
    min_size=1,
    max_size=6,
)


@given(histories=histories, feature=st.sampled_from(FEATURES))
def test_feature_equals_its_oracle_on_any_histories(histories, feature):
    rows = [tuple(map(list, zip(*history, strict=True))) or ([], [], []) for history in histories]
    values = feature.compute(block(*rows))
    for row, history in enumerate(rows):
        rounded = [np.float32(part).tolist() for part in history]
        expected = oracle_of(feature)(*rounded)
        np.testing.assert_allclose(values[row], expected, rtol=2e-4, atol=1e-4)


def test_history_without_slots_is_an_empty_history():
    values = [feature.compute(block(([], [], []))) for feature in build_features(MatchConfig())]
    found = dict(zip(columns_of(build_features(MatchConfig())), np.hstack(values)[0], strict=True))
    counts = {name for name, value in found.items() if value == 0}
    assert counts == {"history_count", "history_liked", "history_disliked"} | {
        f"sim_tier_{band}" for band in range(10)
    }
    assert all(math.isnan(value) for name, value in found.items() if name not in counts)


# ---- statistics


def test_padding_does_not_beat_a_true_similarity_below_zero():
    found = SimilarityStatistics().compute(
        block(([-0.5], [1.0], [1.0]), ([0.9, 0.9], [1.0, 1.0], [1.0, 2.0]))
    )
    assert found[0, 0] == np.float32(-0.5)


def test_top_means_take_fewer_where_there_are_fewer():
    found = compute(SimilarityStatistics(), [0.9, 0.3], [1, 1])
    assert found["sim_top3_mean"] == found["sim_top10_mean"] == pytest.approx((0.9 + 0.3) / 2)


def test_event_one_half_life_older_counts_half():
    found = compute(SimilarityStatistics(half_life_days=30), [1.0, 0.25], [1, 1], [10, 40])
    assert found["sim_recency_mean"] == pytest.approx((1 * 2 + 0.25 * 1) / 3)


def test_recency_mean_is_there_however_old_the_history():
    found = compute(SimilarityStatistics(half_life_days=1), [1.0, 0.25], [1, 1], [3000, 3001])
    assert found["sim_recency_mean"] == pytest.approx((1 * 2 + 0.25 * 1) / 3)


def test_feedback_weighs_the_mean():
    found = compute(SimilarityStatistics(), [1.0, 0.5], [3, 1])
    assert found["sim_weight_mean"] == pytest.approx((1 * 3 + 0.5 * 1) / 4)


def test_deviation_of_one_event_is_zero():
    assert compute(SimilarityStatistics(), [0.7, 0.1], [1, -1])["sim_std"] == 0


def test_empty_slot_far_in_the_future_does_not_reach_the_recency_mean():
    """The kernel fills empty slots with event 0, which may be years younger than the row."""
    rows = block(([0.5, 0.5], [1.0, 1.0], [1.0, 2.0]), ([0.5], [1.0], [1.0]))
    rows.age_days[1, 1] = -20 * 365
    assert SimilarityStatistics().compute(rows)[1].tolist() == [0.5, 0.5, 0.5, 0.5, 0, 0.5, 0.5]


# ---- contrast, neighbours, counts


def test_contrast_is_missing_where_a_side_is_empty():
    assert all(math.isnan(value) for value in compute(Contrast(), [0.5], [1]).values())
    assert all(math.isnan(value) for value in compute(Contrast(), [0.5], [-1]).values())


def test_contrast_takes_top_five_of_each_side():
    found = compute(Contrast(), [0.6] * 5 + [0.0] + [0.1] * 9, [1] * 6 + [-1] * 9)
    assert found["contrast_top5_mean"] == pytest.approx(0.6 - 0.1)
    assert found["contrast_mean"] == pytest.approx(0.5 - 0.1)
    assert found["contrast_max"] == pytest.approx(0.6 - 0.1)


def test_neighbours_at_the_edge_that_tie_all_take_part():
    found = compute(NeighbourFeedback(neighbours=2), [0.5, 1, 0.5, 0.1], [1, 1, -1, -1])
    assert found["neighbour_feedback"] == pytest.approx((1 + 0.5**4 - 0.5**4) / (1 + 2 * 0.5**4))


def test_rounding_does_not_break_a_tie_of_neighbours():
    nearly = float(np.nextafter(np.float32(0.5), np.float32(1)))
    feature = NeighbourFeedback(neighbours=1)
    tied = compute(feature, [0.5, 0.5], [1, -1])["neighbour_feedback"]
    assert compute(feature, [0.5, nearly], [1, -1])["neighbour_feedback"] == pytest.approx(
        tied, abs=1e-6
    )
    assert tied == 0


def test_only_dissimilar_neighbours_say_nothing():
    found = compute(NeighbourFeedback(), [-0.5, 0.0], [1, 1])
    assert math.isnan(found["neighbour_feedback"])


def test_events_without_a_verdict_are_counted_and_not_liked():
    found = compute(HistoryCounts(), [0.1, 0.2, 0.3], [0, 1, -1], [4, 5, 6])
    assert list(found.values()) == [3, 1, 1, 4]


# ---- histogram


def test_similarity_at_an_edge_belongs_to_the_band_above():
    found = SimilarityHistogram(edges=(0.25, 0.5)).compute(
        block(([0.25, 0.5, 0.24999, 1.0, -1.0], [1] * 5, [1] * 5))
    )
    assert found.tolist() == [[2, 1, 2]]


@pytest.mark.parametrize("edges", [(), (0.5, 0.5), (0.5, 0.1), (0.1, 0.5, 0.4)])
def test_edges_that_make_no_bands_are_refused(edges):
    with pytest.raises(ConfigError, match="strictly ascending"):
        SimilarityHistogram(edges=edges)


def test_equal_edges_cut_the_whole_range():
    assert equal_edges(2) == (0.0,)
    assert equal_edges(5) == (-0.6, -0.2, 0.2, 0.6)


def test_fitted_edges_are_quantiles_of_the_pooled_samples():
    low, high = np.float32([0.1] * 10), np.float32([0.9] * 10)
    assert fit_edges([low, high], [10, 10], 2) == (0.1,)
    assert fit_edges([low, high], [30, 10], 4) == (0.1,)
    assert fit_edges([low, high], [10, 30], 4) == (0.1, 0.9)
    assert fit_edges([low, np.empty(0, np.float32), high], [10, 0, 30], 4) == (0.1, 0.9)


def test_fitted_bands_hold_equal_shares():
    rng = np.random.default_rng(0)
    parts = [np.sort(rng.normal(0.3, 0.1, size).astype(np.float32)) for size in (5000, 50, 500)]
    edges = fit_edges(parts, [len(part) for part in parts], 5)
    pooled = np.concatenate(parts)
    shares = np.histogram(pooled, [-1, *edges, 1])[0] / len(pooled)
    assert np.abs(shares - 1 / 5).max() < 2e-3


def test_order_of_the_samples_does_not_matter():
    rng = np.random.default_rng(0)
    parts = [np.sort(rng.random(size, np.float32)) for size in (40, 7, 90)]
    counts = [400, 7, 9]
    assert fit_edges(parts, counts, 8) == fit_edges(parts[::-1], counts[::-1], 8)


def test_nothing_to_fit_on_is_said():
    with pytest.raises(InputError, match="nobody had liked an item"):
        fit_edges([np.empty(0, np.float32)], [0], 4)


# ---- the family


def test_feature_set_id_changes_with_every_parameter():
    configs = [
        MatchConfig(),
        MatchConfig(histogram_bins=9),
        MatchConfig(half_life_days=29),
        MatchConfig(neighbours=9),
    ]
    known = [build_features(config) for config in configs]
    known.append(build_features(MatchConfig(), edges=(0.1, 0.2)))
    assert len({feature_set_id(features) for features in known}) == len(known)
    assert feature_set_id(build_features(MatchConfig())) == feature_set_id(known[0])


def test_no_two_features_share_a_column():
    columns = columns_of(build_features(MatchConfig()))
    assert len(set(columns)) == len(columns) == 7 + 3 + 1 + 10 + 4
