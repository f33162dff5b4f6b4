"""What every match feature must do, for the kernel to be able to rely on it.

The kernel cuts its work into blocks as it likes. That is right only if a row's values
depend on the row's own events alone, to the last bit.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.match.block import Floats, MatchFeature
from sail_features.match.past import Past, PastEvent, PastInterest, build_block
from sail_features.testing.feature_oracles import Oracle

TOLERANCE: Final = 1e-5


def check_match_feature(feature: MatchFeature, oracle: Oracle | None = None) -> None:
    """Hold a feature against all that the kernel relies on.

    Parameters
    ----------
    feature : the feature, with its parameters.
    oracle : the same definition as a plain loop over one row's history
        (`sail_features.testing.feature_oracles`); None leaves the numbers unchecked.

    Raises
    ------
    AssertionError
        The first promise that the feature breaks.

    Examples
    --------
    >>> from sail_features.match.contrast import Contrast
    >>> from sail_features.testing.feature_oracles import naive_contrast
    >>> check_match_feature(Contrast(), naive_contrast)
    """
    _check_identity(feature)
    for what, rows in _worlds():
        values = _compute(feature, rows, what)
        _check(not np.isinf(values).any(), f"{what}: a value is infinite")
        _check_rows_stand_alone(feature, rows, values, what)
        if oracle is not None:
            _check_against(oracle, rows, values, what)
    _check_empty_history(feature)


def _worlds() -> Iterator[tuple[str, list[Past]]]:
    """Yield rows that a feature is likely to get wrong, each lot with its description."""
    rng = np.random.default_rng(0)
    yield "histories of any length", _random_rows(rng, rows=40, events=23)
    yield "one event", _random_rows(rng, rows=9, events=1)
    yield "all events liked", _random_rows(rng, rows=9, events=12, weights=(1,))
    yield "all events disliked", _random_rows(rng, rows=9, events=12, weights=(-0.5,))
    yield "events without a verdict", _random_rows(rng, rows=9, events=12, weights=(0,))
    yield "only dissimilar events", _random_rows(rng, rows=9, events=12, between=(-1, -0.1))
    yield "equal similarities", _random_rows(rng, rows=9, events=12, between=(0.35, 0.35))


def _random_rows(
    rng: np.random.Generator,
    *,
    rows: int,
    events: int,
    weights: Sequence[float] = (-1, -0.5, 0, 0.5, 1, 2),
    between: tuple[float, float] = (-1.0, 1.0),
) -> list[Past]:
    return [
        Past(
            events=[
                PastEvent(_single(rng.uniform(*between)), float(rng.choice(weights)), age, same)
                for age, same in zip(
                    sorted(_single(age) for age in rng.uniform(0.01, 400, count)),
                    rng.random(count) < 0.4,
                    strict=True,
                )
            ],
            interests=[
                PastInterest(
                    _single(rng.uniform(*between)),
                    _single(rng.uniform(0.1, 1)),
                    float(rng.integers(1, 50)),
                    _single(rng.uniform(0.01, 400)),
                    _single(rng.uniform(-1, 1)),
                )
                for _ in range(rng.integers(0, 4))
            ],
            unlisted=int(rng.integers(0, 3)),
            categorised=bool(rng.random() < 0.8),
        )
        for count in [events, *rng.integers(0, events + 1, rows - 1)]
    ]


def _single(value: float) -> float:
    """Return the nearest number that float32 can hold, as blocks do."""
    return float(np.float32(value))


def _check_identity(feature: MatchFeature) -> None:
    columns = feature.columns
    _check(bool(feature.name), "name is empty")
    _check(len(set(columns)) == len(columns) > 0, f"columns repeat or are none: {columns}")
    json.dumps(feature.parameters)
    copy = pickle.loads(pickle.dumps(feature))  # noqa: S301 (the bytes are from the line itself)
    _check(copy.columns == columns, "a pickled copy has other columns: Spark sends copies")


def _compute(feature: MatchFeature, rows: Sequence[Past], what: str) -> Floats:
    block, untouched = build_block(*rows), build_block(*rows)
    values = feature.compute(block)
    for old, new in zip(_arrays(untouched), _arrays(block), strict=True):
        _check(np.array_equal(old, new), f"{what}: compute changed its block")
    expected = (len(rows), len(feature.columns))
    _check(values.shape == expected, f"{what}: shape {values.shape}, expected {expected}")
    _check(values.dtype == np.float32, f"{what}: values are {values.dtype}, expected float32")
    return values


def _check_rows_stand_alone(
    feature: MatchFeature, rows: Sequence[Past], values: Floats, what: str
) -> None:
    order = np.random.default_rng(1).permutation(len(rows))
    permuted = feature.compute(build_block(*(rows[row] for row in order)))
    _check_same_bits(permuted, values[order], f"{what}: permuted rows give other values")
    for number, row in enumerate(rows):
        alone = feature.compute(build_block(row))
        expected = values[number : number + 1]
        _check_same_bits(alone, expected, f"{what}: a row's values depend on other rows")
    nothing = feature.compute(build_block())
    _check(nothing.shape == (0, values.shape[1]), f"{what}: no rows give {nothing.shape}")


def _check_empty_history(feature: MatchFeature) -> None:
    values = feature.compute(build_block(Past(), Past(categorised=False), Past(unlisted=2)))
    good = np.isnan(values) | (values == 0)
    _check(bool(good.all()), f"an empty history gives {values[0].tolist()}, expected null or 0")


def _check_against(oracle: Oracle, rows: Sequence[Past], values: Floats, what: str) -> None:
    for number, row in enumerate(rows):
        found, expected = values[number], np.array(oracle(row), np.float64)
        close = np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        if not close.all():
            column = int(np.argmin(close))
            raise AssertionError(
                f"{what}: row {number} differs from the oracle: column {column} is "
                f"{found[column]}, expected {expected[column]}"
            )


def _arrays(block: tuple[Any, ...]) -> Iterator[NDArray[Any]]:
    for array in block:
        yield from _arrays(array) if isinstance(array, tuple) else [array]


def _check_same_bits(found: Floats, expected: Floats, problem: str) -> None:
    _check(np.array_equal(found, expected, equal_nan=True), problem)


def _check(condition: bool | np.bool_, problem: str) -> None:
    if not condition:
        raise AssertionError(problem)
