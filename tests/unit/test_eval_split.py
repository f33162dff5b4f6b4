"""The split by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking_eval import split_rows, warmup_end
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONFIG = EvalConfig(warmup_share=0.2, validation_share=0.2, test_share=0.2)


def at(second):
    return EPOCH + timedelta(seconds=second)


def seconds(values):
    return pa.array([at(value) for value in values], pa.timestamp("us", "UTC"))


def test_ten_rows_a_second_apart_split_as_one_would_by_hand():
    split = split_rows(seconds(range(10)), [0, 1] * 5, CONFIG)
    assert split.warmup_end == at(2)
    assert split.train.tolist() == [2, 3, 4, 5]
    assert split.validation.tolist() == [6, 7]
    assert split.test.tolist() == [8, 9]
    assert split.train_end == split.validation_start == at(6)
    assert split.validation_end == split.test_start == at(8)


def test_the_gap_comes_off_the_end_of_train_and_of_validation():
    config = CONFIG.model_copy(update={"gap_s": 2.0})
    split = split_rows(seconds(range(20)), [0, 1] * 10, config)
    assert split.train.tolist() == [4, 5, 6, 7, 8, 9]
    assert split.validation.tolist() == [12, 13]
    assert split.test.tolist() == [16, 17, 18, 19]
    assert (split.train_end, split.validation_start) == (at(10), at(12))
    assert (split.validation_end, split.test_start) == (at(14), at(16))


@given(st.lists(st.integers(0, 12), min_size=30, max_size=80), st.integers(0, 2))
def test_no_moment_lies_on_both_sides_of_a_cut(times, gap):
    config = CONFIG.model_copy(update={"gap_s": float(gap)})
    labels = np.arange(len(times)) % 2
    try:
        split = split_rows(seconds(times), labels, config)
    except EvaluationError:
        return
    train, validation, test = (
        {times[row] for row in part} for part in (split.train, split.validation, split.test)
    )
    assert max(train) + gap < min(validation)
    assert max(validation) + gap < min(test)
    assert all(at(time) >= split.warmup_end for time in train)


def test_warmup_ends_where_training_begins():
    order = [5, 3, 9, 1, 7, 2, 8, 4, 6, 0]
    times = seconds(order)
    split = split_rows(times, np.array(order) % 2, CONFIG)
    assert warmup_end(times, CONFIG) == split.warmup_end == at(2)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_come_from_pandas_numpy_or_arrow_in_any_unit(unit):
    numbers = np.arange(10).astype("datetime64[s]").astype(f"datetime64[{unit}]")
    for times in (numbers, pd.Series(numbers).dt.tz_localize("UTC"), pa.array(numbers)):
        assert warmup_end(times, CONFIG) == at(2)


def test_times_of_another_zone_are_the_same_moments():
    times = pd.Series(pd.date_range("2024-01-01", periods=10, freq="h", tz="Asia/Tokyo"))
    assert warmup_end(times, CONFIG) == datetime(2023, 12, 31, 17, tzinfo=UTC)


def test_a_part_with_one_label_is_an_error_that_names_it():
    with pytest.raises(EvaluationError, match="validation part: all 2 rows have label 1"):
        split_rows(seconds(range(10)), [0, 1, 0, 1, 0, 1, 1, 1, 0, 1], CONFIG)


def test_a_gap_that_swallows_a_part_is_an_error_that_names_it():
    with pytest.raises(EvaluationError, match="validation part: no row lies from"):
        split_rows(seconds(range(20)), [0, 1] * 10, CONFIG.model_copy(update={"gap_s": 4.0}))


def test_rows_of_one_moment_cannot_be_split():
    with pytest.raises(EvaluationError, match="train part: no row"):
        split_rows(seconds([7] * 10), [0, 1] * 5, CONFIG)
