"""Each guard trips on a planted leak and names its rows; bad experiments are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from ranking_eval import Arm, Artefact, Experiment
from ranking_eval.guards import (
    check_available,
    check_feature_times,
    check_same_rows,
    check_trained_until,
)
from ranking_eval.rows import load_rows
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError, InputError, LeakageError

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
TIME = pa.timestamp("us", "UTC")


def make_rows(count=8, **columns):
    """Impressions of one user an hour, request r0 to r7 of users u0 to u7, items from 100."""
    rows = pa.table(
        {
            "request_id": [f"r{row}" for row in range(count)],
            "user_id": [f"u{row}" for row in range(count)],
            "item_id": [100 + row for row in range(count)],
            "event_timestamp": pa.array(
                [NOON + timedelta(hours=row) for row in range(count)], TIME
            ),
            "label": [row % 2 for row in range(count)],
        }
    )
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows


def shown_at(offsets):
    return pa.array(
        [None if o is None else NOON + timedelta(hours=row) + o for row, o in enumerate(offsets)],
        TIME,
    )


def test_feature_times_before_the_impression_or_null_pass():
    rows = make_rows(match__feature_time=shown_at([-MOMENT, None] * 4))
    assert "match__feature_time: strictly before" in check_feature_times(rows)


@pytest.mark.parametrize("name", ["feature_time", "user_item_match__feature_time"])
def test_a_feature_of_the_impressions_own_moment_is_a_leak_that_names_the_row(name):
    rows = make_rows(**{name: shown_at([-MOMENT, None, timedelta(0), *[None] * 5])})
    with pytest.raises(LeakageError, match="request r2 user u2 item 102") as caught:
        check_feature_times(rows)
    assert f"column {name!r}: 1 rows use events at or after" in str(caught.value)
    assert "r3" not in str(caught.value)


def test_at_most_five_leaking_rows_are_named():
    rows = make_rows(feature_time=shown_at([MOMENT] * 8))
    with pytest.raises(LeakageError, match="8 rows") as caught:
        check_feature_times(rows)
    assert str(caught.value).count("request") == 5


def test_a_row_known_at_the_impression_passes_and_one_known_later_is_a_leak():
    passing = make_rows(match__available_at=shown_at([timedelta(0), None] * 4))
    assert "not after" in check_available(passing)
    leaking = make_rows(match__available_at=shown_at([*[None] * 7, MOMENT]))
    with pytest.raises(LeakageError, match=r"1 rows became available.*request r7 user u7 item 107"):
        check_available(leaking)


def test_guard_times_in_nanoseconds_or_without_a_zone_are_compared_as_utc():
    naive = pd.Series(pd.DatetimeIndex([NOON.replace(tzinfo=None)] * 8))
    with pytest.raises(LeakageError, match="1 rows use events at or after"):
        check_feature_times(make_rows(feature_time=pa.array(naive)))


def test_a_guard_column_without_any_value_passes():
    assert check_feature_times(make_rows(feature_time=pa.nulls(8)))


def test_a_guard_column_that_holds_no_times_is_an_error():
    with pytest.raises(EvaluationError, match="column 'feature_time'"):
        check_feature_times(make_rows(feature_time=pa.array(range(8))))


def test_a_frame_without_guard_columns_says_that_nothing_was_checked():
    assert "nothing to check" in check_feature_times(make_rows())
    assert "nothing to check" in check_available(make_rows())


def test_an_artefact_may_be_trained_until_the_first_training_row_and_no_later():
    assert "edges" in check_trained_until([Artefact("edges", NOON)], NOON)
    with pytest.raises(LeakageError, match="edges: was trained on interactions until"):
        check_trained_until([Artefact("edges", NOON + MOMENT)], NOON)


def test_arms_with_the_same_rows_pass():
    assert "8 rows" in check_same_rows({"control": make_rows(), "treatment": make_rows()})


def test_an_arm_that_lost_a_row_is_refused_and_the_row_named():
    rows = make_rows()
    with pytest.raises(EvaluationError, match=r"arm 'treatment'.*request r7 user u7 item 107"):
        check_same_rows({"control": rows, "treatment": rows.slice(0, 7)})


def test_an_arm_with_another_label_is_refused_and_the_row_named():
    rows = make_rows()
    other = rows.set_column(4, "label", pa.array([1, 1, 0, 1, 0, 1, 0, 1]))
    with pytest.raises(EvaluationError, match="request r0 user u0 item 100"):
        check_same_rows({"control": rows, "treatment": other})


def test_an_arm_whose_ids_are_of_another_type_is_refused():
    rows = make_rows()
    other = rows.set_column(2, "item_id", rows["item_id"].cast(pa.string()))
    with pytest.raises(EvaluationError, match="columns of type"):
        check_same_rows({"control": rows, "treatment": other})


def test_rows_come_in_order_of_time_then_ids_whatever_the_frame():
    rows = make_rows()
    shuffled = rows.take([3, 1, 7, 0, 2, 6, 5, 4])
    assert load_rows(shuffled).equals(rows)
    assert load_rows(shuffled.to_pandas()).equals(rows)


def test_labels_other_than_0_and_1_are_refused():
    with pytest.raises(EvaluationError, match="found 0, 1, 2, 3"):
        load_rows(make_rows().set_column(4, "label", pa.array([0, 1, 2, 3] * 2)))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (make_rows().drop_columns("label"), "no column 'label'"),
        (make_rows().slice(0, 0), "no rows"),
        (pa.concat_tables([make_rows(), make_rows()]), "8 keys"),
        (make_rows().to_pandas().assign(event_timestamp=pd.Timestamp("2024-01-01")), "time zone"),
    ],
)
def test_rows_that_break_the_contract_are_refused(broken, words):
    with pytest.raises(InputError, match=words):
        load_rows(broken)


CONTROL, TREATMENT = Arm("control", ("price", "ctr")), Arm("treatment", ("match", "ctr", "price"))


def test_columns_shared_with_control_come_first_in_controls_order():
    experiment = Experiment("x", (CONTROL, TREATMENT), placebo=None)
    assert experiment.ordered_columns(TREATMENT) == ("price", "ctr", "match")


@pytest.mark.parametrize("column", ["user_id", "item_id", "request_id", "label", "event_timestamp"])
def test_ids_times_and_labels_are_no_features(column):
    with pytest.raises(EvaluationError, match=f"{column} can't be a feature"):
        Arm("control", ("price", column))


@pytest.mark.parametrize("columns", [(), ("price", "price")])
def test_an_arm_has_columns_and_each_once(columns):
    with pytest.raises(EvaluationError, match="arm 'control'"):
        Arm("control", columns)


@pytest.mark.parametrize(
    ("arms", "options", "words"),
    [
        ((CONTROL, TREATMENT), {}, "no arm named placebo"),
        ((TREATMENT, CONTROL), {"placebo": None}, "first arm must be 'control'"),
        ((CONTROL, CONTROL), {"placebo": None}, "same name"),
        ((CONTROL, TREATMENT), {"placebo": "control"}, "two roles"),
        ((CONTROL, TREATMENT), {"placebo": None, "eval": EvalConfig(seeds=())}, "no seeds"),
    ],
)
def test_an_experiment_that_compares_nothing_is_refused(arms, options, words):
    with pytest.raises(EvaluationError, match=words):
        Experiment("x", arms, **options)


def test_an_artefact_needs_a_time_zone():
    with pytest.raises(EvaluationError, match="no time zone"):
        Artefact("edges", datetime(2024, 1, 1))
