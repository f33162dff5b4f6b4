"""Population stability index: how far the values served lie from those trained on.

It sums (share served - share trained on) x ln(ratio of the shares) over bins. Missing values
are a bin of their own: a feature that goes missing has drifted. What sampling alone gives is
reported beside it, since the customary bounds (.1 to look, .25 to act) know no sample sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import chi2

BINS: Final = 10
KINDS: Final = 20
"""More distinct words or whole numbers than these share one bin."""
HALF: Final = 0.5
"""Rows imagined in each bin, so that an empty one has a logarithm; chosen here."""
LEVEL: Final = 0.95

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Stability:
    """A feature's index, and what it stays below in 19 of 20 samples without any drift."""

    index: float
    noise: float


def stability_index(
    served: pa.ChunkedArray, reference: pa.ChunkedArray, *, bins: int = BINS
) -> Stability | None:
    """Return how far ``served`` has drifted from ``reference``, or None where nobody can say.

    Parameters
    ----------
    served, reference : values of one feature; null and NaN are missing.
    bins : how many, cut at the quantiles of the reference's values.

    Returns
    -------
    None for lists and bytes, and where either side has no rows.

    Notes
    -----
    Without drift the index is about chi-squared with (bins - 1) degrees of freedom, times
    1 / rows served + 1 / rows of the reference [1]_.

    References
    ----------
    .. [1] Yurdakul, B.: Statistical Properties of Population Stability Index. Western
       Michigan University, 2018.

    Examples
    --------
    >>> same = pa.chunked_array([[1.0, 2.0, 3.0] * 100])
    >>> stability_index(same, same).index
    0.0
    """
    if not len(served) or not len(reference):
        return None
    binned = _bin_both(served, reference, bins)
    if binned is None:
        return None
    counts = [np.bincount(codes, minlength=max(map(np.max, binned)) + 1) for codes in binned]
    used = (counts[0] + counts[1]) > 0
    shares = [(count[used] + HALF) / (count[used] + HALF).sum() for count in counts]
    index = float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
    scale = 1 / len(served) + 1 / len(reference)
    noise = float(chi2.ppf(LEVEL, max(int(used.sum()) - 1, 1)) * scale)
    return Stability(index, noise)


def _bin_both(
    served: pa.ChunkedArray, reference: pa.ChunkedArray, bins: int
) -> tuple[Integers, Integers] | None:
    """Return the bin of each value, 0 where it is missing."""
    kinds = (served.type, reference.type)
    if all(map(pa.types.is_floating, kinds)):
        floats = [_floats(column) for column in (served, reference)]
        edges = _edges(floats[1], bins)
        codes = [
            np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))
            for values in floats
        ]
        return codes[0], codes[1]
    if any(pa.types.is_nested(kind) or pa.types.is_binary(kind) for kind in kinds):
        return None
    return _bin_kinds(served, reference)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return values


def _edges(reference: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return inner edges at the quantiles of the values that are there; fewer where they tie."""
    present = reference[~np.isnan(reference)]
    if not len(present):
        return np.empty(0)
    return np.unique(np.quantile(present, np.arange(1, bins) / bins))


def _bin_kinds(served: pa.ChunkedArray, reference: pa.ChunkedArray) -> tuple[Integers, Integers]:
    """Give each of the reference's most frequent values a bin, and all others one."""
    texts = [column.cast(pa.string()) for column in (served, reference)]
    counted = pc.value_counts(texts[1].drop_null())
    order = np.argsort(-counted.field("counts").to_numpy(), kind="stable")[:KINDS]
    frequent = counted.field("values").take(pa.array(order))
    codes = [
        np.where(
            column.is_null().to_numpy(),
            0,
            1 + pc.fill_null(pc.index_in(column, frequent), KINDS).to_numpy(),
        )
        for column in texts
    ]
    return codes[0], codes[1]
