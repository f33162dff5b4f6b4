"""SimTier: how many liked history items lie in each band of similarity.

The histogram of target-to-history similarities, the largest single gain of MUSE
(arXiv 2512.07216, table of ablations) after SimTier (arXiv 2407.19467, section 4).
The paper cuts [-1, 1] into equal bands; text encoders crowd their cosines into a
few of them, so the edges here may be quantiles of a fitting period. We return
plain counts: the logarithm belongs to models that need it, trees don't.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.errors import ConfigError, InputError
from sail_features.match.block import LIKED, Floats, HistoryBlock, Integers
from sail_features.match.similarity_counts import GRID


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
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> block = build_block(Past([PastEvent(0.9), PastEvent(0.5), PastEvent(0.1)]))
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
        bands: Floats = _count(block, np.array(self.edges, np.float32))
        return bands


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _count(block: HistoryBlock, edges: Floats) -> Floats:
    """Return the counts; sums of ones have the same bits in any order."""
    out = np.zeros((len(block.bounds), len(edges) + 1), np.float32)
    for row in range(len(out)):
        liked = block.similarity[block.bounds[row, LIKED] : block.bounds[row, LIKED + 1]]
        above = np.float32(len(liked))
        for band, edge in enumerate(edges):
            at_least = np.float32(0)
            for cell in range(len(liked)):
                at_least += np.float32(1) if liked[cell] >= edge else np.float32(0)
            out[row, band] = above - at_least
            above = at_least
        out[row, len(edges)] = above
    return out


def equal_edges(bands: int) -> tuple[float, ...]:
    """Return inner edges that cut [-1, 1] into bands of equal width, as in the paper.

    Examples
    --------
    >>> equal_edges(4)
    (-0.5, 0.0, 0.5)
    """
    return tuple(np.linspace(-1, 1, bands + 1)[1:-1].round(6).tolist())


def fit_edges(counts: Integers, bands: int) -> tuple[float, ...]:
    """Return inner edges at the quantiles of similarities that were counted.

    Parameters
    ----------
    counts : how many there are at each step of the grid, from
        `sail_features.match.similarity_counts`; parts of the data are added up before.
    bands : how many bands; fewer come back where quantiles coincide.

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> from sail_features.match.similarity_counts import count_on_grid
    >>> fit_edges(count_on_grid(np.linspace(0, 1, 101, dtype=np.float32)), 4)
    (0.25, 0.5, 0.75)
    """
    if not counts.any():
        raise InputError.say(
            "similarity_histogram",
            "no similarity to fit edges on: nobody had liked an item before the fitting ended",
            hint="fit until a later time (--fit-until), or leave it out for equal bands",
        )
    reached = np.cumsum(counts) / counts.sum()
    wanted = np.arange(1, bands) / bands
    edges = GRID[np.searchsorted(reached, wanted)]
    return tuple(float(edge) for edge in np.unique(edges))
