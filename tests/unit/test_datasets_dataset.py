"""The three tables: named policies are applied and counted, bad input is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from sail_features.datasets.dataset import Dataset, build_dataset
from sail_features.datasets.policies import drop_repeats
from sail_features.errors import InputError
from sail_features.schemas import TIMESTAMP

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def times(*values: datetime | None) -> pa.Array:
    return pa.array(values, TIMESTAMP)


def some_items(**changes: object) -> pa.Table:
    columns = {
        "item_id": ["a", "b"],
        "event_timestamp": times(NOON - HOUR, NOON - HOUR),
        "text": ["apple", "bean"],
    }
    return pa.table({**columns, **changes})


def some_events(**changes: object) -> pa.Table:
    columns = {
        "user_id": ["u", "u"],
        "item_id": ["a", "b"],
        "event_timestamp": times(NOON, NOON + HOUR),
        "event_type": ["click", "click"],
        "weight": [1.0, -1.0],
    }
    return pa.table({**columns, **changes})


def some_impressions(**changes: object) -> pa.Table:
    columns = {
        "request_id": ["r", "r"],
        "user_id": ["u", "u"],
        "item_id": ["a", "b"],
        "event_timestamp": times(NOON, NOON),
        "label": [1, 0],
    }
    return pa.table({**columns, **changes})


def build(
    items: pa.Table | None = None,
    events: pa.Table | None = None,
    impressions: pa.Table | None = None,
) -> Dataset:
    return build_dataset(
        "shop",
        some_items() if items is None else items,
        some_events() if events is None else events,
        some_impressions() if impressions is None else impressions,
        negatives="logged",
    )


def test_tables_without_odd_rows_come_through_whole() -> None:
    dataset = build()
    assert dataset.dropped == {}
    assert dataset.notes == ()
    assert [t.num_rows for t in (dataset.items, dataset.events, dataset.impressions)] == [2, 2, 2]
    assert dataset.events.schema.field("weight").type == pa.float32()


def test_event_without_time_is_dropped_and_counted() -> None:
    dataset = build(events=some_events(event_timestamp=times(NOON, None)))
    assert dataset.dropped == {"event_without_time": 1}
    assert dataset.events["item_id"].to_pylist() == ["a"]


def test_rows_of_unknown_items_are_dropped_and_counted_by_table() -> None:
    dataset = build(
        events=some_events(item_id=["a", "zzz"]),
        impressions=pa.concat_tables([some_impressions(), some_impressions(item_id=["zzz", "zz"])]),
    )
    assert dataset.dropped == {"event_of_unknown_item": 1, "impression_of_unknown_item": 2}


def test_a_policy_that_leaves_no_row_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="event_of_unknown_item dropped the last 2"):
        build(events=some_events(item_id=["A", "B"]))


def test_item_without_time_is_known_a_second_before_the_log_starts() -> None:
    dataset = build(items=some_items().drop_columns(["event_timestamp"]))
    assert dataset.items["event_timestamp"].to_pylist() == [NOON - SECOND] * 2
    assert dataset.dropped == {"item_time_from_log_start": 2}


@pytest.mark.parametrize("stated", [NOON, NOON + HOUR])
def test_item_stated_at_or_after_its_first_use_is_known_a_second_before_it(
    stated: datetime,
) -> None:
    dataset = build(items=some_items(event_timestamp=times(stated, NOON - HOUR)))
    assert dataset.items["event_timestamp"].to_pylist() == [NOON - SECOND, NOON - HOUR]
    assert dataset.dropped == {"item_time_from_first_use": 1}


def test_item_that_nobody_met_keeps_its_time() -> None:
    items = some_items(item_id=["a", "new"], event_timestamp=times(NOON - HOUR, NOON + 9 * HOUR))
    events, impressions = some_events(item_id=["a", "a"]), some_impressions(item_id=["a", "a"])
    impressions = impressions.set_column(0, "request_id", [["r", "s"]])
    dataset = build(items, events, impressions)
    assert dataset.items["event_timestamp"].to_pylist()[1] == NOON + 9 * HOUR


def test_item_without_text_is_kept_and_noted() -> None:
    dataset = build(items=some_items(text=["apple", " "]))
    assert dataset.notes == ("1 of 2 items have no text.",)
    assert dataset.items.num_rows == 2


def test_with_impressions_keeps_all_else_and_adds_a_note() -> None:
    dataset = build()
    fewer = pa.concat_tables([dataset.impressions, dataset.impressions.slice(0, 0)])
    changed = dataset.with_impressions(fewer, "sampled users")
    assert changed.notes == ("sampled users",)
    assert changed.items is dataset.items


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"events": some_events().drop_columns(["weight"])}, "no column 'weight'; it has user_id"),
        ({"events": some_events(weight=["1", "2"])}, "'weight' is string, expected a number"),
        ({"items": some_items(item_id=["a", "a"])}, "occur more than once"),
        ({"impressions": some_impressions(item_id=["a", "a"])}, "occur more than once"),
        (
            {"events": some_events(event_timestamp=[datetime(2024, 5, 1)] * 2)},
            "without a time zone",
        ),
        (
            {"events": some_events(event_timestamp=times(NOON, datetime(2990, 1, 1, tzinfo=UTC)))},
            "1 rows of 'event_timestamp' lie after",
        ),
        ({"items": some_items().slice(0, 0)}, "shop items: the table has no rows"),
        ({"impressions": some_impressions(label=[1, 1])}, "every label is 1"),
        ({"impressions": some_impressions(label=[1, 2])}, "labels are 1, 2, expected 0 and 1"),
        ({"impressions": some_impressions(label=[1, None])}, "'label' is null"),
        ({"items": some_items(item_id=[1, 2])}, "'item_id' is string, expected int64 as in items"),
        (
            {"impressions": some_impressions(user_id=[1, 1])},
            "'user_id' is int64, expected string as in events",
        ),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(
    tables: dict[str, pa.Table], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        build(**tables)
    assert error.value.exit_code == 2
    assert "Hint:" in str(error.value)


def test_constructor_refuses_rows_of_unknown_items() -> None:
    good = build()
    with pytest.raises(InputError, match="1 items are not in the catalogue: b"):
        Dataset("shop", good.items.slice(0, 1), good.events, good.impressions, "logged")


def test_of_repeats_the_first_is_kept_in_the_table_s_order() -> None:
    table = pa.table({"key": ["b", "a", "b", "a"], "row": [0, 1, 2, 3]})
    kept, repeats = drop_repeats(table, ("key",))
    assert kept["row"].to_pylist() == [0, 1]
    assert repeats == 2
