"""The match features that a job computes, in order, and the id of the set."""

from __future__ import annotations

from collections.abc import Sequence

from sail_features.config import MatchConfig
from sail_features.manifest import sha256_of
from sail_features.match.block import MatchFeature
from sail_features.match.contrast import Contrast
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.neighbour_feedback import NeighbourFeedback
from sail_features.match.similarity_histogram import SimilarityHistogram, equal_edges
from sail_features.match.similarity_statistics import SimilarityStatistics


def build_features(
    config: MatchConfig, edges: tuple[float, ...] | None = None
) -> tuple[MatchFeature, ...]:
    """Build the features that ``sail.yaml`` describes.

    Parameters
    ----------
    edges : fitted edges of the histogram; equal bands where there are none.
    """
    return (
        SimilarityStatistics(config.half_life_days),
        Contrast(),
        NeighbourFeedback(config.neighbours),
        SimilarityHistogram(edges or equal_edges(config.histogram_bins)),
        HistoryCounts(),
    )


def columns_of(features: Sequence[MatchFeature]) -> tuple[str, ...]:
    """Return the columns of all features, in order."""
    return tuple(column for feature in features for column in feature.columns)


def feature_set_id(features: Sequence[MatchFeature]) -> str:
    """Return a short id that changes with any definition or fitted parameter.

    Examples
    --------
    >>> feature_set_id(build_features(MatchConfig()))[:6]
    'match-'
    """
    described = [[f.name, f.version, f.parameters] for f in features]
    return f"match-{sha256_of(described)[:12]}"
