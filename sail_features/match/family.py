"""The match features that a job computes, in order, and the id of the set."""

from __future__ import annotations

from collections.abc import Sequence

from sail_features.config import MatchConfig
from sail_features.manifest import sha256_of
from sail_features.match.block import HistoryView, MatchFeature, Viewed
from sail_features.match.category_match import CategoryMatch
from sail_features.match.contrast import Contrast
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.history_coverage import HistoryCoverage
from sail_features.match.interest_match import InterestMatch
from sail_features.match.neighbour_feedback import NeighbourFeedback
from sail_features.match.recent_contrast import RecentContrast
from sail_features.match.similarity_histogram import SimilarityHistogram, equal_edges
from sail_features.match.similarity_statistics import SimilarityStatistics
from sail_features.match.top_similarities import TopSimilarities


def build_features(
    config: MatchConfig,
    edges: tuple[float, ...] | None = None,
    *,
    categories: bool = False,
    interests: bool = False,
) -> tuple[MatchFeature, ...]:
    """Build the features that ``sail.yaml`` describes.

    Parameters
    ----------
    edges : fitted edges of the histogram; equal bands where there are none.
    categories : whether the caller knows the items' categories.
    interests : whether the caller has mined interests.

    Examples
    --------
    >>> len(columns_of(build_features(MatchConfig(), categories=True, interests=True)))
    45
    """
    statistics = SimilarityStatistics(config.half_life_days)
    neighbours = NeighbourFeedback(config.neighbours)
    whole: tuple[MatchFeature, ...] = (
        statistics,
        Contrast(),
        neighbours,
        SimilarityHistogram(edges or equal_edges(config.histogram_bins)),
        TopSimilarities(config.top_similarities),
        RecentContrast(config.recent_days),
        *([CategoryMatch()] if categories else []),
        *([InterestMatch()] if interests else []),
        HistoryCounts(),
        HistoryCoverage(),
    )
    views = [HistoryView(window_days=days) for days in config.windows_days]
    views += [HistoryView(event_type=kind) for kind in config.event_types]
    parts = (statistics, Contrast(), neighbours, HistoryCounts())
    return whole + tuple(Viewed(feature, view) for view in views for feature in parts)


def columns_of(features: Sequence[MatchFeature]) -> tuple[str, ...]:
    """Return the columns of all features, in order."""
    return tuple(column for feature in features for column in feature.columns)


def feature_set_id(features: Sequence[MatchFeature], dim: int | None = None) -> str:
    """Return a short id that changes with any definition or fitted parameter.

    Parameters
    ----------
    dim : how many numbers of each vector are compared; None for all.

    Examples
    --------
    >>> feature_set_id(build_features(MatchConfig()))[:6]
    'match-'
    """
    described = [[f.name, f.version, f.parameters] for f in features]
    return f"match-{sha256_of([dim, described])[:12]}"
