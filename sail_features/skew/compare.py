"""One feature as it was served against the same feature recomputed, row by row.

Two values agree where they are equal in the narrower of their types: a float32 feature that
went through JSON, a protobuf or a double is compared as float32, to its last bit. A value
that is null or NaN on one side only is a mismatch; on both sides it agrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features.skew.stability import Stability

LAST_BITS: Final = 2.0**-20
"""Differences up to this share of the value are the order of sums, eight float32 steps."""
ONE_FACTOR: Final = 1e-3
"""How far ratios may lie from each other where a unit was changed."""
FEWEST: Final = 5
"""Rows below which nobody calls their common ratio a unit."""

Flags = NDArray[np.bool_]
Numbers = NDArray[Any]


@dataclass(frozen=True)
class FeatureSkew:
    """What was found about one feature.

    ``mismatches`` counts rows that differ, those missing on one side included;
    ``stale`` those of them whose logged value is what an older row of the view says.
    ``factor`` is the common ratio of logged to recomputed values, where there is one.
    """

    name: str
    rows: int
    mismatches: int
    missing_online: int
    missing_batch: int
    largest_difference: float | None
    largest_relative: float | None
    factor: float | None
    stale: int | None
    drift: Stability | None
    examples: tuple[dict[str, Any], ...]

    @property
    def share(self) -> float:
        """Share of the rows that differ."""
        return self.mismatches / self.rows if self.rows else 0.0

    @property
    def cause(self) -> str:
        """What the mismatches look like, in words; empty where there are none."""
        if not self.mismatches:
            return ""
        said = []
        if self.missing_online:
            said.append(f"missing online in {self.missing_online}")
        if self.missing_batch:
            said.append(f"missing in batch in {self.missing_batch}")
        if self.stale:
            said.append(f"older than batch in {self.stale}")
        others = self.mismatches - self.missing_online - self.missing_batch - (self.stale or 0)
        if others > 0:
            said.append(self._how_others_differ())
        return ", ".join(said)

    def _how_others_differ(self) -> str:
        if self.factor is not None:
            return f"{self.factor:g} times batch"
        relative = self.largest_relative
        return "last bits" if relative is not None and relative <= LAST_BITS else "other values"


@dataclass(frozen=True)
class Comparison:
    """Which rows of a feature differ, and by how much where both sides are numbers."""

    differs: Flags
    missing_online: Flags
    missing_batch: Flags
    difference: NDArray[np.float64] | None
    logged: Numbers | None
    recomputed: Numbers | None


def compare_feature(
    logged: pa.ChunkedArray, recomputed: pa.ChunkedArray, *, relative_tolerance: float = 0.0
) -> Comparison:
    """Compare two columns of equal length.

    Parameters
    ----------
    logged, recomputed : one value a row; null and NaN are missing.
    relative_tolerance : the difference that is let pass, as a share of the larger of both
        values; 0 asks for equal float32.

    Examples
    --------
    >>> served, batch = pa.chunked_array([[1.5, None]]), pa.chunked_array([[1.5, 2.0]])
    >>> compare_feature(served, batch).differs.tolist()
    [False, True]
    """
    absent = [column.is_null(nan_is_null=True).to_numpy() for column in (logged, recomputed)]
    missing_online, missing_batch = absent[0] & ~absent[1], absent[1] & ~absent[0]
    both = ~(absent[0] | absent[1])
    numbers = _as_numbers(logged, recomputed)
    if numbers is None:
        unlike = [not _same(*pair) for pair in zip(logged, recomputed, strict=True)]
        differs = missing_online | missing_batch | (both & np.array(unlike, bool))
        return Comparison(differs, missing_online, missing_batch, None, None, None)
    one, other = numbers
    with np.errstate(invalid="ignore", over="ignore"):
        wide = np.int64 if one.dtype == np.int64 else np.float64
        difference = np.abs(one.astype(wide) - other.astype(wide)).astype(np.float64)
        larger = np.maximum(np.abs(one), np.abs(other)).astype(np.float64)
        passed = np.isfinite(larger) & (difference <= relative_tolerance * larger)
    unlike = (one != other) & ~(passed & (relative_tolerance > 0))
    difference = np.where(both & (one != other), difference, 0.0)
    differs = missing_online | missing_batch | (both & unlike)
    return Comparison(differs, missing_online, missing_batch, difference, one, other)


def summarise_feature(
    name: str,
    found: Comparison,
    *,
    examples: tuple[dict[str, Any], ...],
    stale: Flags | None,
    drift: Stability | None,
) -> FeatureSkew:
    """Return what a comparison says about one feature."""
    values = found.differs & ~found.missing_online & ~found.missing_batch
    largest, relative, factor = _sizes(found, values)
    return FeatureSkew(
        name=name,
        rows=len(found.differs),
        mismatches=int(found.differs.sum()),
        missing_online=int(found.missing_online.sum()),
        missing_batch=int(found.missing_batch.sum()),
        largest_difference=largest,
        largest_relative=relative,
        factor=factor,
        stale=None if stale is None else int((stale & found.differs).sum()),
        drift=drift,
        examples=examples,
    )


def _sizes(found: Comparison, rows: Flags) -> tuple[float | None, float | None, float | None]:
    """Return the largest difference, the largest as a share, and the one factor if any."""
    if found.difference is None or found.logged is None or found.recomputed is None:
        return None, None, None
    if not rows.any():
        return 0.0, 0.0, None
    one, other = (side[rows].astype(np.float64) for side in (found.logged, found.recomputed))
    difference = found.difference[rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = difference / np.maximum(np.abs(one), np.abs(other))
        ratios = one / other
    relative[np.isnan(relative)] = np.inf  # of infinity
    return float(difference.max()), float(relative.max()), _one_factor(ratios)


def _one_factor(ratios: NDArray[np.float64]) -> float | None:
    """Return what all ratios are, if it is one number other than 1."""
    usable = ratios[np.isfinite(ratios) & (ratios != 0)]
    if len(usable) < FEWEST:
        return None
    middle = float(np.median(usable))
    together = np.abs(usable / middle - 1).max() <= ONE_FACTOR
    return middle if together and abs(middle - 1) > ONE_FACTOR else None


def _as_numbers(logged: pa.ChunkedArray, recomputed: pa.ChunkedArray) -> tuple[Any, Any] | None:
    """Return both columns in the narrower of their types, or None where one is no number."""
    kinds = (logged.type, recomputed.type)
    if all(map(pa.types.is_timestamp, kinds)):
        return _to_numpy(logged, pa.int64()), _to_numpy(recomputed, pa.int64())
    if not all(_is_number(kind) for kind in kinds):
        return None
    floats = [kind for kind in kinds if pa.types.is_floating(kind)]
    common = min(floats, key=lambda kind: int(kind.bit_width)) if floats else pa.int64()
    return _to_numpy(logged, common), _to_numpy(recomputed, common)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _to_numpy(column: pa.ChunkedArray, kind: pa.DataType) -> Numbers:
    """Return the values, 0 where they are missing: the caller knows which those are."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: Numbers = pc.fill_null(column.cast(kind, safe=False), 0).to_numpy()
    return values


def _same(one: pa.Scalar, other: pa.Scalar) -> bool:
    return _equal(one.as_py(), other.as_py())


def _equal(one: Any, other: Any) -> bool:
    """Tell whether two values are equal; numbers in lists as float32, NaN equal to NaN."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        both_missing = math.isnan(one) and math.isnan(other)
        return both_missing or bool(np.float32(one) == np.float32(other))
    return bool(one == other)
