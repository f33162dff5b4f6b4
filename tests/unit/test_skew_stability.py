"""The index is 0 without drift, grows with it, and rises above its noise as often as said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sail_features.skew.stability import Stability, stability_index


def index(served: Any, reference: Any) -> Stability:
    found = stability_index(pa.chunked_array([served]), pa.chunked_array([reference]))
    assert found is not None
    return found


def test_index_of_two_bins_is_its_definition() -> None:
    """9 of 10 against 1 of 2, with half a row imagined in each bin."""
    served, reference = ["a"] * 90 + ["b"] * 10, ["a"] * 50 + ["b"] * 50
    p, q = np.array([90.5, 10.5]) / 101, np.array([50.5, 50.5]) / 101
    expected = ((p - q) * np.log(p / q)).sum()
    assert index(served, reference).index == pytest.approx(expected)


def test_shift_of_half_a_deviation_is_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    found = index(rng.normal(0.5, 1, 5_000), rng.normal(0, 1, 5_000))
    assert 0.2 < found.index < 0.3  # the divergence of the normals, there and back: .25
    assert found.noise < 0.01


def test_without_drift_one_sample_in_twenty_is_above_the_noise() -> None:
    rng = np.random.default_rng(1)
    above = [
        found.index > found.noise
        for _ in range(1_000)
        if (found := index(rng.normal(size=400), rng.normal(size=700)))
    ]
    assert np.mean(above) == pytest.approx(0.05, abs=0.025)


def test_values_that_go_missing_are_drift() -> None:
    values = np.arange(1_000.0)
    holes = np.where(values % 2, values, np.nan)
    assert index(holes, values).index > 1
    assert index([None] * 1_000, values).index > 1


def test_value_that_training_never_saw_is_drift() -> None:
    assert index(["new"] * 100, ["old"] * 100).index > 1


def test_constant_is_not_drift() -> None:
    assert index([1.0] * 50, [1.0] * 90).index == pytest.approx(0, abs=1e-12)


def test_training_without_any_value_has_one_bin_and_that_of_missing() -> None:
    assert index([1.0] * 100, np.full(100, np.nan)).index > 1


def test_lists_and_bytes_have_no_index() -> None:
    for values in ([[1.0]], [b"1"]):
        column = pa.chunked_array([values])
        assert stability_index(column, column) is None
