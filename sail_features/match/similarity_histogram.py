"""SimTier: how many liked history items lie in each band of similarity.

The histogram of target-to-history similarities, the largest single gain of MUSE
(arXiv 2512.07216, table of ablations) after SimTier (arXiv 2407.19467, section 4).
The paper cuts [-1, 1] into equal bands; text encoders crowd their cosines into a
few of them, so the edges here may be quantiles of a fitting period. We return
plain counts: the logarithm belongs to models that need it, trees don't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sail_features.errors import ConfigError, InputError
from sail_features.match.block import Floats, HistoryBlock


@dataclass(frozen=True)
class SimilarityHistogram:
    """Counts of liked events by band of similarity.

    Parameters
    ----------
    edges : ascending inner edges; n edges make n + 1 bands. Band i holds
        similarities in [edges[i - 1], edges[i]).

    Raises
    ------
    ConfigError
        Edges that are not strictly ascending.

    Notes
    -----
    An empty history gives zeros: counts are known to be none. Differs from MUSE's
    code, where a padded slot counts as similarity 0 (`match_facts.md` 3).

    Examples
    --------
    >>> block = HistoryBlock(*(np.float32([x]) for x in ([0.9, 0.5, 0.1], [1, 1, 1], [1, 1, 1])),
    ...                      seen=np.array([[True, True, True]]))
    >>> SimilarityHistogram(edges=(0.2, 0.5)).compute(block)
    array([[1., 0., 2.]], dtype=float32)
    """

    edges: tuple[float, ...]
    name: str = "similarity_histogram"
    version: int = 1

    def __post_init__(self) -> None:
        """Refuse edges that no histogram can have."""
        if not self.edges or any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ConfigError.say(
                "similarity_histogram", f"edges {self.edges}", hint="give strictly ascending edges"
            )

    @property
    def parameters(self) -> dict[str, object]:
        """The edges."""
        return {"edges": list(self.edges)}

    @property
    def columns(self) -> tuple[str, ...]:
        """One count a band, least similar first."""
        return tuple(f"sim_tier_{band}" for band in range(len(self.edges) + 1))

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, bands)."""
        at_least = [block.positive.sum(axis=1)]
        at_least += [
            (block.positive & (block.similarity >= np.float32(edge))).sum(axis=1)
            for edge in self.edges
        ]
        counts = np.stack([*at_least, np.zeros_like(at_least[0])], axis=1)
        bands: Floats = (counts[:, :-1] - counts[:, 1:]).astype(np.float32)
        return bands


def equal_edges(bands: int) -> tuple[float, ...]:
    """Return inner edges that cut [-1, 1] into bands of equal width, as in the paper.

    Examples
    --------
    >>> equal_edges(4)
    (-0.5, 0.0, 0.5)
    """
    return tuple(np.linspace(-1, 1, bands + 1)[1:-1].round(6).tolist())


def fit_edges(
    similarities: Sequence[NDArray[np.float32]], counts: Sequence[int], bands: int
) -> tuple[float, ...]:
    """Return inner edges at the quantiles of several samples pooled by weight.

    Parameters
    ----------
    similarities : sorted samples, one a part of the data.
    counts : how many similarities each sample stands for.
    bands : how many bands; fewer come back where quantiles coincide.

    Raises
    ------
    InputError
        All samples are empty.

    Examples
    --------
    >>> fit_edges([np.linspace(0, 1, 101, dtype=np.float32)], [1000], 4)
    (0.25, 0.5, 0.75)
    """
    values = np.concatenate(similarities)
    weights = np.concatenate(
        [np.full(len(s), n / max(len(s), 1)) for s, n in zip(similarities, counts, strict=True)]
    )
    if not len(values):
        raise InputError.say(
            "similarity_histogram",
            "no similarity to fit edges on: nobody had liked an item before the fitting ended",
            hint="fit until a later time (--fit-until), or leave it out for equal bands",
        )
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    wanted = np.arange(1, bands) / bands
    edges = values[order][np.minimum(np.searchsorted(reached, wanted), len(values) - 1)]
    return tuple(float(edge) for edge in np.unique(edges.astype(np.float64).round(4)))
