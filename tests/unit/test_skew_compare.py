"""Which values count as equal, and what the differences look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.skew.compare import FeatureSkew, compare_feature, summarise_feature


def column(values: Any, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def skew(logged: pa.ChunkedArray, recomputed: pa.ChunkedArray, **options: float) -> FeatureSkew:
    found = compare_feature(logged, recomputed, **options)
    return summarise_feature("f", found, examples=(), stale=None, drift=None)


def test_null_and_nan_are_both_missing() -> None:
    served = column([None, float("nan"), None, 1.0], pa.float32())
    batch = column([float("nan"), None, 1.0, None], pa.float32())
    found = skew(served, batch)
    assert (found.mismatches, found.missing_online, found.missing_batch) == (2, 1, 1)
    assert found.cause == "missing online in 1, missing in batch in 1"


def test_one_bit_of_float32_is_a_mismatch_and_named_so() -> None:
    batch = np.linspace(1, 1.9, 50, dtype=np.float32)
    found = skew(column(np.nextafter(batch, np.float32(9))), column(batch))
    assert found.share == 1
    assert found.cause == "last bits"
    assert found.largest_difference == pytest.approx(2.0**-23)


def test_double_that_holds_a_float32_agrees_with_it() -> None:
    batch = np.float32([0.1, 1 / 3])
    assert skew(column(batch.astype(np.float64)), column(batch)).mismatches == 0


def test_doubles_are_compared_as_doubles() -> None:
    assert skew(column([0.1]), column([np.nextafter(0.1, 1)])).mismatches == 1


def test_whole_numbers_beyond_doubles_are_told_apart() -> None:
    assert skew(column([2**53 + 1]), column([2**53])).mismatches == 1


def test_relative_tolerance_is_a_share_of_the_larger_value() -> None:
    served, batch = column([100.0, 100.0]), column([101.0, 102.0])
    assert skew(served, batch, relative_tolerance=0.01).mismatches == 1


def test_change_of_unit_is_named() -> None:
    batch = np.array([0.5, 2.0, 3.0, 7.0, 11.0, 0.0], np.float32)
    found = skew(column(batch * np.float32(1000)), column(batch))
    assert found.factor == pytest.approx(1000)
    assert found.cause == "1000 times batch"
    assert found.mismatches == 5


def test_few_rows_have_no_common_factor() -> None:
    assert skew(column([2.0, 4.0]), column([1.0, 2.0])).factor is None


def test_infinity_agrees_with_itself_alone() -> None:
    inf = float("inf")
    found = skew(column([inf, inf, -inf]), column([inf, 1.0, inf]))
    assert found.mismatches == 2
    assert found.largest_difference == inf
    assert skew(column([inf]), column([1.0]), relative_tolerance=0.5).mismatches == 1


def test_words_lists_and_bytes_are_compared_as_they_are() -> None:
    assert skew(column(["a", "b"]), column(["a", "c"])).mismatches == 1
    assert skew(column([b"a", None]), column([b"a", b"c"])).missing_online == 1
    lists = column([[1.0, float("nan")], [2.0]], pa.list_(pa.float32()))
    assert skew(lists, column([[1.0, float("nan")], [2.0, 3.0]])).mismatches == 1


def test_times_are_compared_in_microseconds() -> None:
    utc = pa.timestamp("us", "UTC")
    found = skew(column([1_000_000, 2], utc), column([1_000_000, 3], utc))
    assert (found.mismatches, found.largest_difference) == (1, 1)


def test_column_of_nulls_alone_is_missing_in_all_rows() -> None:
    found = skew(column([None, None]), column([1.0, None]))
    assert (found.mismatches, found.missing_online) == (1, 1)


@given(st.lists(st.floats(width=32) | st.none(), min_size=1, max_size=20))
def test_feature_agrees_with_itself(values: list[float | None]) -> None:
    served = column(values, pa.float32())
    assert skew(served, served).mismatches == 0
