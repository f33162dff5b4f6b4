"""A user's own files through a mapping."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sail_features.datasets.mapping import EventColumns, ItemColumns, Mapping, load_mapping
from sail_features.datasets.timestamps import TimeRule, TimeUnit, read_times
from sail_features.datasets.user_tables import load_user_tables
from sail_features.errors import ConfigError, InputError

FILES = Path(__file__).parents[1] / "fixtures" / "user_tables"
ITEMS, EVENTS = FILES / "items.csv", FILES / "events.jsonl"
IMPRESSIONS = FILES / "impressions.tsv"


@pytest.fixture
def mapping() -> Mapping:
    return load_mapping(FILES / "mapping.yaml")


def changed(mapping: Mapping, **sections: object) -> Mapping:
    return mapping.model_copy(update=sections)


def test_all_columns_of_a_mapping_arrive(mapping: Mapping) -> None:
    dataset = load_user_tables(ITEMS, EVENTS, IMPRESSIONS, mapping)
    log_start = datetime(2024, 3, 30, 9, 59, 59, tzinfo=UTC)
    assert dataset.items.to_pylist()[0] == {
        "item_id": "001",
        "event_timestamp": log_start,
        "title": "Blue mug",
        "text": "Blue mug\nHolds tea, mostly",
        "category": "kitchen",
        "price": 7.5,
        "tags": ["mug", "blue"],
        "image_path": str(FILES / "photos" / "001.jpg"),
    }
    assert dataset.impressions.to_pylist()[0] == {
        "request_id": "ann@1711800000000000",
        "user_id": "ann",
        "item_id": "001",
        "event_timestamp": datetime(2024, 3, 30, 12, tzinfo=UTC),
        "label": 1,
        "negative_source": "logged",
    }
    assert dataset.negatives == "logged"


def test_several_files_of_an_item_stay_several(mapping: Mapping, tmp_path: Path) -> None:
    loaded = load_user_tables(ITEMS, EVENTS, IMPRESSIONS, mapping).items
    frames = [["a.png", "b.png"], None, *[["c.png"]] * (len(loaded) - 2)]
    rows = loaded.select(["item_id"]).append_column("frames", pa.array(frames))
    pq.write_table(rows, tmp_path / "items.parquet")
    named = changed(mapping, items=ItemColumns(item_id="item_id", image_path="frames"))
    found = load_user_tables(tmp_path / "items.parquet", EVENTS, IMPRESSIONS, named).items
    assert found["image_path"].type == pa.list_(pa.string())
    assert found["image_path"].to_pylist()[:2] == [
        [str(tmp_path / "a.png"), str(tmp_path / "b.png")],
        None,
    ]


def test_odd_rows_follow_their_policies_and_are_counted(mapping: Mapping) -> None:
    dataset = load_user_tables(ITEMS, EVENTS, IMPRESSIONS, mapping)
    assert dataset.dropped == {
        "ambiguous_local_time": 1,
        "nonexistent_local_time": 1,
        "event_without_time": 1,
        "event_of_unknown_item": 1,
        "item_time_from_log_start": 3,
    }
    assert dataset.notes == ("1 of 3 items have no text.",)


def test_weights_follow_the_event_type(mapping: Mapping) -> None:
    events = load_user_tables(ITEMS, EVENTS, IMPRESSIONS, mapping).events
    weights = dict(zip(events["event_type"].to_pylist(), events["weight"].to_pylist(), strict=True))
    assert weights == {"purchase": 1.0, "view": 0.0, "return": -1.0}


def test_event_type_without_a_weight_is_an_error_that_names_it(mapping: Mapping) -> None:
    events = mapping.events.model_copy(update={"weights": {"purchase": 1.0}})
    with pytest.raises(InputError, match="no weight for event types view, return"):
        load_user_tables(ITEMS, EVENTS, IMPRESSIONS, changed(mapping, events=events))


def test_events_without_type_and_weight_count_one_each(tmp_path: Path, mapping: Mapping) -> None:
    events = EventColumns(user_id="customer", item_id="sku", event_timestamp="at")
    dataset = load_user_tables(ITEMS, EVENTS, IMPRESSIONS, changed(mapping, events=events))
    assert set(dataset.events["weight"].to_pylist()) == {1.0}
    assert set(dataset.events["event_type"].to_pylist()) == {"event"}


def test_tables_in_the_contract_s_own_names_need_naming_of_one_column_only(
    tmp_path: Path,
) -> None:
    (tmp_path / "items.csv").write_text("item_id,text\n1,one\n2,two\n")
    (tmp_path / "events.csv").write_text(
        "user_id,item_id,event_timestamp,weight\nu,1,2024-01-01T00:00:00Z,0.5\n"
    )
    (tmp_path / "shown.csv").write_text(
        "request_id,user_id,item_id,event_timestamp,label,position\n"
        "r,u,1,2024-01-02T00:00:00+01:00,1,0\nr,u,2,2024-01-02T00:00:00+01:00,0,1\n"
    )
    named = Mapping(items=ItemColumns(item_id="item_id"))
    paths = [tmp_path / name for name in ("items.csv", "events.csv", "shown.csv")]
    dataset = load_user_tables(*paths, named)
    assert dataset.events["weight"].to_pylist() == [0.5]
    assert dataset.impressions["position"].to_pylist() == [0, 1]
    assert dataset.impressions["event_timestamp"][0].as_py() == datetime(2024, 1, 1, 23, tzinfo=UTC)


def test_without_impressions_first_likes_become_positives_with_sampled_negatives(
    tmp_path: Path,
) -> None:
    pq.write_table(pa.table({"item_id": [1, 2, 3]}), tmp_path / "items.parquet")
    hours = [0, 1, 2, 3, 4]
    events = pa.table(
        {
            "user_id": [7, 8, 9, 7, 7],
            "item_id": [1, 2, 3, 2, 1],
            "at": [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in hours],
            "liked": [1, 1, -1, 1, 1],
        }
    )
    pq.write_table(events, tmp_path / "events.parquet")
    mapping = Mapping(events=EventColumns(event_timestamp="at", weight="liked"))
    dataset = load_user_tables(
        tmp_path / "items.parquet", tmp_path / "events.parquet", None, mapping
    )
    rows = [
        (row["user_id"], row["item_id"], row["label"], row["negative_source"])
        for row in dataset.impressions.to_pylist()
    ]
    assert [row for row in rows if row[2] == 1] == [
        (7, 1, 1, "logged"),
        (8, 2, 1, "logged"),
        (7, 2, 1, "logged"),
    ]
    assert {(user, item) for user, item, label, _ in rows if label == 0} == {(8, 1), (7, 3)}
    assert dataset.negatives == "sampled"
    assert any("sampled" in note for note in dataset.notes)


def test_asking_for_negatives_replaces_the_logged_ones(mapping: Mapping) -> None:
    dataset = load_user_tables(ITEMS, EVENTS, IMPRESSIONS, mapping, negatives_per_positive=50)
    assert dataset.negatives == "sampled"
    assert dataset.dropped["logged_negative_replaced"] == 1
    negatives = [row for row in dataset.impressions.to_pylist() if row["label"] == 0]
    assert {row["negative_source"] for row in negatives} <= {"popularity", "uniform"}


def test_mapping_that_names_nothing_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(ConfigError, match=r"items have sku, name, .*; events have"):
        load_user_tables(ITEMS, EVENTS, None, Mapping())


def test_named_columns_that_are_not_there_are_listed_with_those_that_are(
    mapping: Mapping,
) -> None:
    items = ItemColumns(item_id="SKU", text=("name", "story"))
    with pytest.raises(InputError, match=r"no column 'SKU', 'story'; it has sku, name, blurb"):
        load_user_tables(ITEMS, EVENTS, None, changed(mapping, items=items))


def test_times_without_zone_need_one_in_the_mapping(mapping: Mapping) -> None:
    with pytest.raises(InputError, match="'at' has timestamps without a time zone"):
        load_user_tables(ITEMS, EVENTS, IMPRESSIONS, changed(mapping, timezone=None))


def test_text_in_place_of_a_number_is_an_error(mapping: Mapping) -> None:
    items = mapping.items.model_copy(update={"price": "name"})
    with pytest.raises(InputError, match="column 'name' is string, expected a number"):
        load_user_tables(ITEMS, EVENTS, None, changed(mapping, items=items))


def test_a_price_that_is_not_a_number_is_missing(tmp_path: Path, mapping: Mapping) -> None:
    items = tmp_path / "items.csv"
    items.write_text(ITEMS.read_text().replace("7.50", "NaN"))
    dataset = load_user_tables(items, EVENTS, IMPRESSIONS, mapping)
    assert dataset.items["price"].to_pylist() == [None, 8.0, None]


def test_log_without_likes_or_impressions_is_an_error(mapping: Mapping) -> None:
    disliked = dict.fromkeys(("purchase", "view", "return"), -1.0)
    events = mapping.events.model_copy(update={"weights": disliked})
    with pytest.raises(InputError, match="no row is a sign of liking"):
        load_user_tables(ITEMS, EVENTS, None, changed(mapping, events=events))


def test_empty_table_is_an_error(tmp_path: Path, mapping: Mapping) -> None:
    empty = tmp_path / "items.csv"
    empty.write_text("sku,name,blurb,department,cost,labels,photo\n")
    with pytest.raises(InputError, match="the table has no rows"):
        load_user_tables(empty, EVENTS, IMPRESSIONS, mapping)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timezone: Mars/Olympus", "no time zone is called 'Mars/Olympus'"),
        ("events: {weight: w, weights: {a: 1}}", "not both"),
        ("items: {sku: item_id}", "no such setting"),
        ("items: [", "can't be read"),
    ],
)
def test_wrong_mapping_is_a_configuration_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_mapping(path)


def test_missing_mapping_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_mapping(tmp_path / "mapping.yaml")


NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (["2024-07-01T12:00:00Z"], TimeRule()),
        (["2024-07-01 14:00:00.000+02:00"], TimeRule()),
        (["2024-07-01T13:00"], TimeRule(timezone="Europe/London")),
        (["01/07/2024 13:00"], TimeRule(timezone="Europe/London", pattern="%d/%m/%Y %H:%M")),
        ([NOON.replace(tzinfo=None)], TimeRule(timezone="UTC")),
        ([NOON], TimeRule()),
        ([1719835200], TimeRule(unit="s")),
        ([1719835200.0], TimeRule(unit="s")),
        (["1719835200000"], TimeRule(unit="ms")),
        (["1719835200.0"], TimeRule(unit="s")),
        ([1719835200000000], TimeRule(unit="us")),
    ],
)
def test_every_way_to_state_a_time_gives_the_same_moment(
    values: list[object], rule: TimeRule
) -> None:
    column = pa.chunked_array([pa.array([*values, None])])
    times, counts = read_times(column, rule, where="log", name="at")
    assert times.to_pylist() == [NOON, None]
    assert not any(counts.values())


def test_a_date_is_midnight_of_its_zone() -> None:
    column = pa.chunked_array([["2024-07-01"]])
    times, _ = read_times(column, TimeRule(timezone="Europe/London"), where="log", name="at")
    assert times[0].as_py() == datetime(2024, 6, 30, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "unit", "message"),
    [
        ([1719835200], None, "set `time_unit:`"),
        (["yesterday"], None, "can't be read as times"),
        (["2024-07-01T12:00:00Z", "2024-07-01T12:00:00"], None, "a zone in every row or in none"),
        ([True], None, "'at' is bool"),
        ([1719835200000], "s", "1719835200000, which lies beyond the year 9999 if it counts s"),
        (["1719835200000000000"], "s", "beyond the year 9999"),
    ],
)
def test_times_that_cannot_be_understood_are_an_error(
    values: list[object], unit: TimeUnit | None, message: str
) -> None:
    rule = TimeRule(timezone="UTC", unit=unit)
    with pytest.raises(InputError, match=message):
        read_times(pa.chunked_array([values]), rule, where="log", name="at")
