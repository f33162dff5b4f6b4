"""Online Retail, IFDB and X-Wines: hand-made rows first, the real sets where they lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sail_features.datasets.catalogue import load_dataset
from sail_features.datasets.dataset import Dataset
from sail_features.datasets.ifdb import load_ifdb
from sail_features.datasets.online_retail import load_online_retail
from sail_features.datasets.xwines_slim import load_xwines_slim
from sail_features.errors import InputError
from sail_features.schemas import TIMESTAMP

REAL = Path(__file__).parents[2].parent / "shared" / "data"
NOON = datetime(2011, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def times(*days: float | None) -> pa.Array:
    return pa.array([None if day is None else NOON + day * DAY for day in days], TIMESTAMP)


def write_triple(folder: Path, **tables: dict[str, object]) -> Path:
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def online_retail(tmp_path: Path) -> Path:
    return write_triple(
        tmp_path,
        items={
            "item_id": ["10002", "10080", "10120"],
            "title": ["GLOBE", "CACTUS", "DOGGY RUBBER"],
            "alt_titles": pa.array([[], ["CACTI"], []], pa.list_(pa.string())),
            "price": [0.85, 0.39, 0.21],
            "first_seen": times(0, 0, 0),
            "text": ["Globe", "Cactus", "Doggy rubber"],
        },
        interactions={
            "user_id": ["17850", "17850"],
            "item_id": ["10002", "10002"],
            "timestamp": times(1, 2),
            "event_type": ["purchase", "return"],
            "session_id": ["536365", "C536366"],
            "quantity": pa.array([6, -2], pa.int32()),
            "unit_price": [4.25, 4.25],
        },
        impressions={
            "impression_id": ["536365"] * 4,
            "user_id": ["17850"] * 4,
            "item_id": ["10002", "10080", "10080", "10120"],
            "timestamp": times(1, 1, 1, 1),
            "label": pa.array([1, 0, 0, 0], pa.int8()),
            "neg_type": ["pos", "pop", "uni", "uni"],
            "split": ["train"] * 4,
        },
    )


def test_online_retail_weighs_purchases_and_returns(online_retail: Path) -> None:
    events = load_online_retail(online_retail).events
    assert events["weight"].to_pylist() == [1.0, -1.0]
    assert events["event_type"].to_pylist() == ["purchase", "return"]


def test_online_retail_negatives_are_sampled_and_kept_once(online_retail: Path) -> None:
    dataset = load_online_retail(online_retail)
    assert dataset.negatives == "sampled"
    assert dataset.impressions["item_id"].to_pylist() == ["10002", "10080", "10120"]
    assert dataset.impressions["negative_source"].to_pylist() == [
        "logged", "popularity", "uniform"
    ]  # fmt: skip
    assert dataset.dropped == {"repeated_impression": 1}
    assert "category" not in dataset.items.column_names


def test_online_retail_without_a_column_is_an_error(online_retail: Path) -> None:
    table = pq.read_table(online_retail / "impressions.parquet").drop_columns(["neg_type"])
    pq.write_table(table, online_retail / "impressions.parquet")
    with pytest.raises(InputError, match="no column 'neg_type'; it has impression_id"):
        load_online_retail(online_retail)


@pytest.fixture
def ifdb(tmp_path: Path) -> Path:
    return write_triple(
        tmp_path,
        items={
            "item_id": ["aa", "bb"],
            "title": ["Square Circle", "1893"],
            "author": ["Eric Eve", "Peter Nepstad"],
            "system": ["tads", "inform"],
            "tags": [["political"], ["historical"]],
            "published": times(-900, None),
            "text": ["Square Circle. Systems: tads.", "1893. Systems: inform."],
        },
        interactions={
            "user_id": ["u1", "u1", "u1", "u2"],
            "item_id": ["aa", "bb", "bb", "zz"],
            "timestamp": times(1, 2, None, 3),
            "event_type": ["played", "wishlist", "tag", "played"],
            "tag": [None, None, "escape", None],
        },
        impressions={
            "impression_id": ["u1_20110502", "u1_20110502"],
            "user_id": ["u1", "u1"],
            "item_id": ["aa", "bb"],
            "timestamp": times(1, 1.1),
            "label": pa.array([1, 0], pa.int8()),
            "split": ["train", "train"],
        },
    )


def test_ifdb_labels_are_events_too(ifdb: Path) -> None:
    events = load_ifdb(ifdb).events
    names = ("item_id", "event_type", "weight")
    assert list(zip(*(events[name].to_pylist() for name in names), strict=True)) == [
        ("aa", "played", 0.25),
        ("bb", "wishlist", 0.5),
        ("aa", "rated", 1.0),
        ("bb", "rated", -1.0),
    ]


def test_ifdb_counts_events_without_time_and_of_unknown_games(ifdb: Path) -> None:
    dataset = load_ifdb(ifdb)
    assert dataset.dropped == {
        "event_without_time": 1,
        "event_of_unknown_item": 1,
        "item_time_from_log_start": 1,
    }
    assert dataset.items["category"].to_pylist() == ["tads", "inform"]
    assert dataset.items["event_timestamp"].to_pylist() == [
        NOON - 900 * DAY, NOON + DAY - timedelta(seconds=1)
    ]  # fmt: skip


@pytest.fixture
def xwines(tmp_path: Path) -> Path:
    ratings = {"user_id": ["7", "7"], "item_id": ["1", "2"], "timestamp": times(1, 2)}
    return write_triple(
        tmp_path,
        items={
            "item_id": ["1", "2"],
            "title": ["Merlot", "Moscatel"],
            "type": ["Red", "Sparkling"],
            "grapes": [["Merlot"], ["Muscat"]],
            "winery": ["Origem", "Casa Perini"],
            "text": ["Merlot by Origem.", "Moscatel by Casa Perini."],
            "image_path": ["images/1.jpeg", None],
        },
        interactions={
            **ratings,
            "event_type": ["rating", "rating"],
            "rating": pa.array([5.0, 2.5], pa.float32()),
            "vintage": ["1982", "2008"],
        },
        impressions={
            **ratings,
            "impression_id": ["7_20110502", "7_20110502"],
            "label": pa.array([1, 0], pa.int8()),
            "rating": pa.array([5.0, 2.5], pa.float32()),
        },
    )


def test_xwines_ratings_are_signed_about_their_middle(xwines: Path) -> None:
    dataset = load_xwines_slim(xwines)
    assert dataset.events["weight"].to_pylist() == [1.0, -1.0]
    assert dataset.impressions["label"].to_pylist() == [1, 0]
    assert dataset.impressions["negative_source"].to_pylist() == ["logged", "logged"]


def test_xwines_photographs_are_found_in_the_folder(xwines: Path) -> None:
    items = load_xwines_slim(xwines).items
    assert items["image_path"].to_pylist() == [str(xwines / "images" / "1.jpeg"), None]
    assert items["category"].to_pylist() == ["Red", "Sparkling"]


@pytest.mark.parametrize(
    ("name", "negatives", "least_rows"),
    [
        ("online_retail", "sampled", (3_000, 300_000, 200_000)),
        ("ifdb", "logged", (9_000, 140_000, 20_000)),
        ("xwines_slim", "logged", (1_000, 120_000, 120_000)),
    ],
)
def test_real_set_keeps_the_contracts(
    name: str, negatives: str, least_rows: tuple[int, ...]
) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"{REAL / name} is not on this machine")
    dataset: Dataset = load_dataset(REAL / name)
    assert (dataset.name, dataset.negatives) == (name, negatives)
    tables = (dataset.items, dataset.events, dataset.impressions)
    assert all(table.num_rows >= least for table, least in zip(tables, least_rows, strict=True))
