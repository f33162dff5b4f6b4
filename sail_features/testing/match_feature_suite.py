"""What every match feature must do, for the kernel to be able to rely on it.

The kernel makes blocks whose rows, width and empty slots depend on how the work was
cut, and leaves anything in empty slots. That is right only if a row's values depend
on the row's own seen events alone.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.match.block import Floats, HistoryBlock, MatchFeature
from sail_features.testing.oracles import Oracle

TOLERANCE: Final = 1e-5
GARBAGE: Final = (np.nan, np.inf, -np.inf, 3e38, -3e38)


def check_match_feature(feature: MatchFeature, oracle: Oracle | None = None) -> None:
    """Hold a feature against all that the kernel relies on.

    Parameters
    ----------
    feature : the feature, with its parameters.
    oracle : the same definition as a plain loop over one row's history
        (`sail_features.testing.oracles`); None leaves the numbers unchecked.

    Raises
    ------
    AssertionError
        The first promise that the feature breaks.

    Examples
    --------
    >>> from sail_features.match.contrast import Contrast
    >>> from sail_features.testing.oracles import naive_contrast
    >>> check_match_feature(Contrast(), naive_contrast)
    """
    _check_identity(feature)
    for what, block in _blocks():
        values = _compute(feature, block, what)
        _check(not np.isinf(values).any(), f"{what}: a value is infinite")
        _check_rows_stand_alone(feature, block, values, what)
        _check_empty_slots(feature, block, values, what)
        if oracle is not None:
            _check_against(oracle, block, values, what)
    _check_empty_history(feature)


def _blocks() -> Iterator[tuple[str, HistoryBlock]]:
    """Yield blocks that a feature is likely to get wrong, each with its description."""
    rng = np.random.default_rng(0)
    yield "histories of any length", _random_block(rng, rows=40, slots=23)
    yield "one event", _random_block(rng, rows=9, slots=1, full=True)
    yield "all events liked", _with_weight(_random_block(rng, rows=9, slots=12), 1)
    yield "all events disliked", _with_weight(_random_block(rng, rows=9, slots=12), -0.5)
    yield "events without a verdict", _with_weight(_random_block(rng, rows=9, slots=12), 0)
    yield "only dissimilar events", _random_block(rng, rows=9, slots=12, lowest=-1, highest=-0.1)
    yield "equal similarities", _random_block(rng, rows=9, slots=12, lowest=0.35, highest=0.35)


def _random_block(
    rng: np.random.Generator,
    *,
    rows: int,
    slots: int,
    full: bool = False,
    lowest: float = -1.0,
    highest: float = 1.0,
) -> HistoryBlock:
    count = rng.integers(0, slots + 1, rows)
    count[0] = slots
    shape = (rows, slots)
    return HistoryBlock(
        similarity=rng.uniform(lowest, highest, shape).astype(np.float32),
        weight=rng.choice(np.array([-1, -0.5, 0, 0.5, 1, 2], np.float32), shape),
        age_days=np.sort(rng.uniform(0.01, 400, shape), axis=1).astype(np.float32),
        seen=np.ones(shape, bool) if full else np.arange(slots) < count[:, None],
    )


def _with_weight(block: HistoryBlock, weight: float) -> HistoryBlock:
    same = np.full_like(block.weight, weight)
    return HistoryBlock(block.similarity, same, block.age_days, block.seen)


def _check_identity(feature: MatchFeature) -> None:
    columns = feature.columns
    _check(bool(feature.name), "name is empty")
    _check(len(set(columns)) == len(columns) > 0, f"columns repeat or are none: {columns}")
    json.dumps(feature.parameters)
    copy = pickle.loads(pickle.dumps(feature))  # noqa: S301 (the bytes are from the line itself)
    _check(copy.columns == columns, "a pickled copy has other columns: Spark sends copies")


def _compute(feature: MatchFeature, block: HistoryBlock, what: str) -> Floats:
    before = [array.copy() for array in _arrays(block)]
    values = feature.compute(block)
    for old, new in zip(before, _arrays(block), strict=True):
        _check(np.array_equal(old, new, equal_nan=True), f"{what}: compute changed its block")
    expected = (len(block.seen), len(feature.columns))
    _check(values.shape == expected, f"{what}: shape {values.shape}, expected {expected}")
    _check(values.dtype == np.float32, f"{what}: values are {values.dtype}, expected float32")
    return values


def _check_rows_stand_alone(
    feature: MatchFeature, block: HistoryBlock, values: Floats, what: str
) -> None:
    order = np.random.default_rng(1).permutation(len(values))
    permuted = feature.compute(_take(block, order))
    _check_equal(permuted, values[order], f"{what}: permuted rows give other values")
    for row in range(len(values)):
        alone = feature.compute(_take(block, np.array([row])))
        _check_equal(alone, values[row : row + 1], f"{what}: a row's values depend on other rows")
    nothing = feature.compute(_take(block, np.arange(0)))
    _check(nothing.shape == (0, values.shape[1]), f"{what}: no rows give {nothing.shape}")


def _check_empty_slots(
    feature: MatchFeature, block: HistoryBlock, values: Floats, what: str
) -> None:
    for garbage in GARBAGE:
        filled = feature.compute(_fill_empty(block, garbage))
        _check_equal(filled, values, f"{what}: {garbage} in an empty slot changes a value")
        wider = feature.compute(_fill_empty(_widen(block, slots=5), garbage))
        _check_equal(wider, values, f"{what}: more empty slots, of {garbage}, change a value")


def _check_empty_history(feature: MatchFeature) -> None:
    block = _random_block(np.random.default_rng(2), rows=3, slots=4)
    empty = HistoryBlock(block.similarity, block.weight, block.age_days, np.zeros_like(block.seen))
    values = feature.compute(empty)
    good = np.isnan(values) | (values == 0)
    _check(bool(good.all()), f"an empty history gives {values[0].tolist()}, expected null or 0")


def _check_against(oracle: Oracle, block: HistoryBlock, values: Floats, what: str) -> None:
    for row, seen in enumerate(block.seen):
        history = (array[row][seen].tolist() for array in _arrays(block)[:3])
        expected = np.array([oracle(*history)], np.float64)
        _check_equal(values[row : row + 1], expected, f"{what}: row {row} differs from the oracle")


def _arrays(block: HistoryBlock) -> tuple[NDArray[Any], ...]:
    return block.similarity, block.weight, block.age_days, block.seen


def _take(block: HistoryBlock, rows: NDArray[np.int64]) -> HistoryBlock:
    return HistoryBlock(*(array[rows] for array in _arrays(block)))


def _fill_empty(block: HistoryBlock, garbage: float) -> HistoryBlock:
    values = _arrays(block)[:3]
    filled = [np.where(block.seen, array, np.float32(garbage)) for array in values]
    return HistoryBlock(filled[0], filled[1], filled[2], block.seen)


def _widen(block: HistoryBlock, slots: int) -> HistoryBlock:
    return HistoryBlock(*(np.pad(array, ((0, 0), (0, slots))) for array in _arrays(block)))


def _check_equal(found: NDArray[Any], expected: NDArray[Any], problem: str) -> None:
    close = np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if not close.all():
        row, column = np.argwhere(~close)[0]
        raise AssertionError(
            f"{problem}: column {column} is {found[row, column]}, expected {expected[row, column]}"
        )


def _check(condition: bool | np.bool_, problem: str) -> None:
    if not condition:
        raise AssertionError(problem)
