"""The highest similarities to what the user liked, one a column, in descending order.

The sorted similarity vector that LEMUR feeds its ranker beside the unsorted one
(arXiv 2511.10962, similarity module; without the module it loses .12 % of QAUC). A
tree can tell one close item from several, which no mean shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.errors import ConfigError
from sail_features.match.block import LIKED, Floats, HistoryBlock
from sail_features.match.top import TOP


@dataclass(frozen=True)
class TopSimilarities:
    """The k highest similarities to liked events; null beyond their number.

    Parameters
    ----------
    k : how many, at most `TOP`.

    Raises
    ------
    ConfigError
        More than a block lists.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> TopSimilarities(k=3).compute(build_block(Past([PastEvent(0.25), PastEvent(0.75)])))
    array([[0.75, 0.25,  nan]], dtype=float32)
    """

    k: int = 5
    name: str = "top_similarities"
    version: int = 1

    def __post_init__(self) -> None:
        """Refuse more than a block lists."""
        if not 1 <= self.k <= TOP:
            raise ConfigError.say(self.name, f"k {self.k}", hint=f"give 1 to {TOP}")

    @property
    def parameters(self) -> dict[str, object]:
        """The number of similarities."""
        return {"k": self.k}

    @property
    def columns(self) -> tuple[str, ...]:
        """One column a rank, the highest first."""
        return tuple(f"sim_top_{rank}" for rank in range(1, self.k + 1))

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, k)."""
        values: Floats = _compute(block, self.k)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock, k: int) -> Floats:
    out = np.empty((len(block.bounds), k), np.float32)
    for row in range(len(out)):
        for rank in range(k):
            similarity = block.top[row, LIKED, rank]
            out[row, rank] = similarity if similarity > -np.inf else np.nan
    return out
