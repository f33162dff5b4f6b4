"""Each match feature: the behaviour suite, its oracle, and cases with an obvious answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.config import MatchConfig
from sail_features.errors import ConfigError, InputError
from sail_features.match.block import HistoryView, Viewed
from sail_features.match.category_match import CategoryMatch
from sail_features.match.contrast import Contrast
from sail_features.match.family import build_features, columns_of, feature_set_id
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.history_coverage import HistoryCoverage
from sail_features.match.interest_match import InterestMatch
from sail_features.match.neighbour_feedback import NeighbourFeedback
from sail_features.match.past import Past, PastEvent, PastInterest, build_block
from sail_features.match.recent_contrast import RecentContrast
from sail_features.match.similarity_counts import GRID, count_on_grid
from sail_features.match.similarity_histogram import SimilarityHistogram, equal_edges, fit_edges
from sail_features.match.similarity_statistics import SimilarityStatistics
from sail_features.match.top_similarities import TopSimilarities
from sail_features.testing.feature_oracles import oracle_of
from sail_features.testing.match_feature_suite import check_match_feature

WHOLE_FAMILY = build_features(MatchConfig(), categories=True, interests=True)
FEATURES = [
    *WHOLE_FAMILY,
    *build_features(MatchConfig(histogram_bins=2, neighbours=1, half_life_days=0.5)),
    SimilarityHistogram(edges=(-0.9, 0.1, 0.12, 0.95)),
    NeighbourFeedback(neighbours=3),
    NeighbourFeedback(neighbours=16),
    TopSimilarities(k=16),
    RecentContrast(recent_days=100),
    Viewed(Contrast(), HistoryView(window_days=7)),
]


def compute(feature, similarities, weights, ages=None) -> dict[str, float]:
    ages = [1.0] * len(weights) if ages is None else ages
    events = [PastEvent(*event) for event in zip(similarities, weights, ages, strict=True)]
    return of(feature, Past(events))


def of(feature, past: Past) -> dict[str, float]:
    values = feature.compute(build_block(past))[0]
    return dict(zip(feature.columns, values.tolist(), strict=True))


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: repr(feature)[:60])
def test_feature_keeps_the_promises_of_the_suite(feature):
    check_match_feature(feature, oracle_of(feature))


number = st.floats(-1, 1, width=32).map(lambda value: round(value, 3)).map(np.float32).map(float)
ages = st.integers(1, 900 * 8).map(lambda eighths: eighths / 8)
past_events = st.builds(
    PastEvent, number, st.sampled_from([-1.0, -0.5, 0.0, 1.0, 2.0]), ages, st.booleans()
)
past_interests = st.builds(
    PastInterest, number, st.sampled_from([0.25, 0.5]), st.integers(1, 9), ages, number
)
pasts = st.builds(
    Past,
    st.lists(past_events).map(lambda events: sorted(events, key=lambda event: event.age_days)),
    st.lists(past_interests, max_size=4),
    st.integers(0, 3),
    st.booleans(),
)


@given(rows=st.lists(pasts, min_size=1, max_size=6), feature=st.sampled_from(FEATURES))
def test_feature_equals_its_oracle_on_any_histories(rows, feature):
    values = feature.compute(build_block(*rows))
    for found, past in zip(values, rows, strict=True):
        np.testing.assert_allclose(found, oracle_of(feature)(past), rtol=2e-4, atol=1e-4)


def test_only_counts_are_known_of_an_empty_history():
    values = [feature.compute(build_block(Past())) for feature in WHOLE_FAMILY]
    found = dict(zip(columns_of(WHOLE_FAMILY), np.hstack(values)[0], strict=True))
    counts = {name for name, value in found.items() if value == 0}
    assert counts == {
        "history_count",
        "history_liked",
        "history_disliked",
        "category_count",
        *(f"sim_tier_{band}" for band in range(10)),
    }
    assert all(math.isnan(value) for name, value in found.items() if name not in counts)


# ---- statistics


def test_maximum_may_lie_below_zero():
    assert compute(SimilarityStatistics(), [-0.5], [1])["sim_max"] == np.float32(-0.5)


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


def test_top_similarities_descend_and_end_in_nulls():
    found = compute(TopSimilarities(k=4), [0.25, 0.75, 1.0, 0.5], [1, 1, -1, 1])
    assert list(found.values())[:3] == [0.75, 0.5, 0.25]
    assert math.isnan(found["sim_top_4"])


@pytest.mark.parametrize("k", [0, 17])
def test_more_than_a_block_lists_is_refused(k):
    with pytest.raises(ConfigError, match="1 to 16"):
        TopSimilarities(k=k)
    with pytest.raises(ConfigError, match="1 to 16"):
        NeighbourFeedback(neighbours=k)


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


def test_recent_is_up_to_the_day():
    found = compute(RecentContrast(recent_days=7), [0.5, 0.75, 0.25], [1, 1, 1], [1, 7, 7.001])
    assert found["recent_contrast_mean"] == pytest.approx((0.5 + 0.75) / 2 - 0.25)
    assert found["recent_contrast_max"] == pytest.approx(0.75 - 0.25)
    only_recent = compute(RecentContrast(recent_days=7), [0.5], [1], [1])
    assert all(math.isnan(value) for value in only_recent.values())


def test_coverage_counts_events_without_a_vector():
    assert of(HistoryCoverage(), Past([PastEvent(0.1)], unlisted=3)) == {"history_coverage": 0.25}
    assert of(HistoryCoverage(), Past(unlisted=3)) == {"history_coverage": 0}


# ---- categories and interests


def test_target_without_a_category_matches_none():
    past = Past([PastEvent(0.5, same_category=True)], categorised=False)
    assert all(math.isnan(value) for value in of(CategoryMatch(), past).values())


def test_disliked_items_of_the_category_count_and_are_not_similar():
    found = of(CategoryMatch(), Past([PastEvent(0.9, -1, 4, same_category=True), PastEvent(0.5)]))
    assert found["category_count"] == 1
    assert found["category_share"] == 0.5
    assert found["category_feedback"] == -1
    assert found["category_age_days"] == 4
    assert math.isnan(found["category_sim_max"])


def test_of_equally_near_interests_the_weightier_counts():
    light, heavy = PastInterest(0.5, 0.25, size=2), PastInterest(0.5, 0.75, size=6)
    for order in ([light, heavy], [heavy, light]):
        assert of(InterestMatch(), Past(interests=order))["interest_size"] == 6


# ---- histogram


def test_similarity_at_an_edge_belongs_to_the_band_above():
    found = compute(
        SimilarityHistogram(edges=(0.25, 0.5)), [0.25, 0.5, 0.24999, 1.0, -1.0], [1] * 5
    )
    assert list(found.values()) == [2, 1, 2]


@pytest.mark.parametrize("edges", [(), (0.5, 0.5), (0.5, 0.1), (0.1, 0.5, 0.4)])
def test_edges_that_make_no_bands_are_refused(edges):
    with pytest.raises(ConfigError, match="strictly ascending"):
        SimilarityHistogram(edges=edges)


def test_equal_edges_cut_the_whole_range():
    assert equal_edges(2) == (0.0,)
    assert equal_edges(5) == (-0.6, -0.2, 0.2, 0.6)


def test_fitted_edges_are_quantiles_of_what_was_counted():
    low, high = count_on_grid(np.float32([0.1] * 10)), count_on_grid(np.float32([0.9] * 10))
    assert fit_edges(low + high, 2) == (0.1,)
    assert fit_edges(3 * low + high, 4) == (0.1,)
    assert fit_edges(low + 3 * high, 4) == (0.1, 0.9)


def test_fitted_bands_hold_equal_shares():
    similarities = np.random.default_rng(0).normal(0.3, 0.1, 5000).astype(np.float32)
    edges = fit_edges(count_on_grid(similarities), 5)
    shares = np.histogram(similarities, [-1, *edges, 1])[0] / len(similarities)
    assert np.abs(shares - 1 / 5).max() < 2e-3


def test_cosines_just_beyond_one_are_counted_at_the_end():
    counts = count_on_grid(np.float32([1.00049, -1.00049]))
    assert GRID[np.flatnonzero(counts)].tolist() == [-1, 1]


def test_nothing_to_fit_on_is_said():
    with pytest.raises(InputError, match="nobody had liked an item"):
        fit_edges(count_on_grid(np.empty(0, np.float32)), 4)


# ---- the family


def test_feature_set_id_changes_with_every_parameter():
    configs = [
        MatchConfig(),
        MatchConfig(histogram_bins=9),
        MatchConfig(half_life_days=29),
        MatchConfig(neighbours=9),
        MatchConfig(top_similarities=4),
        MatchConfig(recent_days=6),
        MatchConfig(windows_days=(7,)),
        MatchConfig(event_types=("buy",)),
    ]
    known = [build_features(config) for config in configs]
    known.append(build_features(MatchConfig(), edges=(0.1, 0.2)))
    known.append(build_features(MatchConfig(), categories=True))
    ids = {feature_set_id(features) for features in known}
    assert len(ids) == len(known)
    assert feature_set_id(build_features(MatchConfig())) == feature_set_id(known[0])
    assert feature_set_id(known[0], dim=64) not in ids


def test_no_two_columns_share_a_name_whatever_the_views():
    plain = columns_of(WHOLE_FAMILY)
    assert len(set(plain)) == len(plain) == 7 + 3 + 1 + 10 + 5 + 2 + 6 + 6 + 4 + 1
    viewed = columns_of(build_features(MatchConfig(windows_days=(7, 30), event_types=("buy",))))
    assert len(set(viewed)) == len(viewed) == 33 + 3 * (7 + 3 + 1 + 4)
    assert {"sim_max_7d", "contrast_mean_30d", "history_count_buy"} < set(viewed)
