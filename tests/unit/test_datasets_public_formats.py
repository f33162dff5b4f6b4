"""MovieLens, MIND and Amazon, on hand-written files in their exact formats."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sail_features.datasets.amazon import load_amazon
from sail_features.datasets.mind import load_mind
from sail_features.datasets.movielens import load_movielens
from sail_features.errors import InputError

FIXTURES = Path(__file__).parents[1] / "fixtures"


def rows(table: pa.Table, names: Iterable[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def test_movielens_1m_is_read_with_its_double_colons_and_latin_1() -> None:
    dataset = load_movielens(FIXTURES / "movielens_1m")
    assert rows(dataset.items, ("item_id", "title", "text", "category", "tags")) == [
        (
            73,
            "Misérables, Les (1995)",
            "Misérables, Les (1995). Drama, Musical",
            "Drama",
            ["Drama", "Musical"],
        ),
        (
            661,
            "James and the Giant Peach (1996)",
            "James and the Giant Peach (1996). Animation, Children's, Musical",
            "Animation",
            ["Animation", "Children's", "Musical"],
        ),
        (
            1193,
            "One Flew Over the Cuckoo's Nest (1975)",
            "One Flew Over the Cuckoo's Nest (1975). Drama",
            "Drama",
            ["Drama"],
        ),
    ]
    assert rows(dataset.impressions, ("user_id", "item_id", "event_timestamp", "label")) == [
        (1, 1193, at(2000, 12, 31, 22, 12, 40), 1),
        (1, 661, at(2000, 12, 31, 22, 35, 9), 0),
        (2, 1193, at(2000, 12, 31, 21, 33, 33), 1),
        (2, 73, at(2000, 12, 31, 21, 43, 20), 0),
    ]
    assert dataset.events["weight"].to_pylist() == pytest.approx([1, -1 / 3, 1 / 3, -1])
    assert dataset.dropped == {
        "repeated_rating": 1,
        "event_of_unknown_item": 1,
        "impression_of_unknown_item": 1,
        "item_time_from_log_start": 3,
    }
    assert dataset.negatives == "logged"


def test_movielens_csv_is_read_with_its_quotes_and_missing_genres() -> None:
    dataset = load_movielens(FIXTURES / "movielens_csv")
    assert rows(dataset.items, ("item_id", "title", "category")) == [
        (1, "Toy Story (1995)", "Adventure"),
        (11, "American President, The (1995)", "Comedy"),
        (114335, "La cravate (1957)", None),
    ]
    assert dataset.items["text"].to_pylist()[2] == "La cravate (1957)"
    assert rows(dataset.impressions, ("item_id", "label")) == [(1, 1), (11, 0), (1, 0), (114335, 1)]
    assert dataset.events["weight"].to_pylist() == pytest.approx([1 / 3, 0, -2, 2 / 3])


def test_movielens_100k_genres_come_from_their_flags() -> None:
    dataset = load_movielens(FIXTURES / "movielens_100k")
    assert rows(dataset.items, ("item_id", "title", "tags")) == [
        (242, "Kolya (1996)", ["Comedy"]),
        (302, "L.A. Confidential (1997)", ["Crime", "Film-Noir", "Mystery", "Thriller"]),
        (1633, "Á köldum klaka (Cold Fever) (1994)", ["Comedy", "Drama"]),
    ]
    assert rows(dataset.impressions, ("user_id", "item_id", "label")) == [
        (196, 242, 0),
        (186, 302, 1),
        (196, 302, 1),
    ]


def test_movielens_without_films_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "movielens_1m" / "ratings.dat", tmp_path)
    with pytest.raises(InputError, match=r"movies\.dat: can't be read"):
        load_movielens(tmp_path)


def test_movielens_without_a_column_is_an_error_that_lists_the_others(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "movielens_csv" / "movies.csv", tmp_path)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,4.0\n")
    with pytest.raises(InputError, match="no column 'timestamp'; it has userId, movieId, rating"):
        load_movielens(tmp_path)


def test_mind_impressions_are_those_that_were_shown() -> None:
    dataset = load_mind(FIXTURES / "mind")
    first, second, third = (
        at(2019, 11, 11, 9, 5, 58),
        at(2019, 11, 12, 18, 11, 30),
        at(2019, 11, 13, 0, 0, 5),
    )
    names = ("request_id", "user_id", "item_id", "event_timestamp", "label")
    assert rows(dataset.impressions, names) == [
        ("1", "U13740", "N53526", first, 1),
        ("1", "U13740", "N61837", first, 0),
        ("2", "U91836", "N19639", second, 0),
        ("2", "U91836", "N55528", second, 1),
        ("3", "U13740", "N55528", third, 0),
    ]
    assert dataset.dropped == {
        "repeated_impression": 1,
        "impression_of_unknown_item": 1,
        "item_time_from_log_start": 4,
    }


def test_mind_history_lies_before_the_first_impression_in_order() -> None:
    dataset = load_mind(FIXTURES / "mind")
    assert rows(dataset.events, ("user_id", "item_id", "event_timestamp", "event_type")) == [
        ("U13740", "N55528", at(2019, 11, 11, 9, 5, 55), "history_click"),
        ("U13740", "N19639", at(2019, 11, 11, 9, 5, 56), "history_click"),
        ("U13740", "N61837", at(2019, 11, 11, 9, 5, 57), "history_click"),
        ("U13740", "N53526", at(2019, 11, 11, 9, 5, 58), "click"),
        ("U91836", "N55528", at(2019, 11, 12, 18, 11, 30), "click"),
    ]


def test_mind_text_is_title_and_abstract_with_their_quotes() -> None:
    items = load_mind(FIXTURES / "mind").items
    assert rows(items, ("item_id", "text", "category", "tags"))[1:3] == [
        ("N19639", "50 Worst Habits For Belly Fat", "health", ["weightloss"]),
        (
            "N61837",
            'The Cost of "Trump\'s Aid" Freeze in Ukraine\n'
            "Lt. Ivan Molchanets peeked over a parapet.",
            "news",
            ["newsworld"],
        ),
    ]


def test_mind_without_labels_is_an_error(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "mind" / "news.tsv", tmp_path)
    (tmp_path / "behaviors.tsv").write_text("1\tU1\t11/11/2019 9:05:58 AM\tN55528\tN53526 N61837\n")
    with pytest.raises(InputError, match="labels are N53526, N61837, expected 0 and 1"):
        load_mind(tmp_path)


def test_amazon_2018_takes_text_price_and_category_from_the_metadata() -> None:
    dataset = load_amazon(FIXTURES / "amazon_2018")
    assert rows(dataset.items, ("item_id", "title", "text", "category")) == [
        (
            "0000191639",
            "Dr. Suess 19163 Puzzle",
            "Dr. Suess 19163 Puzzle\n70 pieces For children\nThree dogs. In a box.",
            "Puzzles",
        ),
        ("0005069491", "Nursery house", "Nursery house\nA doll's house.", "Toys & Games"),
    ]
    first, second = dataset.items["price"].to_pylist()
    assert first == pytest.approx(1012.99)
    assert second is None, "a style sheet is no price"


def test_amazon_2018_reviews_are_impressions_without_repeats() -> None:
    dataset = load_amazon(FIXTURES / "amazon_2018")
    assert rows(dataset.impressions, ("user_id", "item_id", "event_timestamp", "label")) == [
        ("A1", "0000191639", at(2014, 9, 23), 1),
        ("A1", "0005069491", at(2014, 9, 24), 0),
        ("A2", "0000191639", at(2014, 9, 24), 1),
    ]
    assert dataset.dropped == {
        "repeated_item": 1,
        "repeated_rating": 1,
        "event_of_unknown_item": 1,
        "impression_of_unknown_item": 1,
        "item_time_from_log_start": 2,
    }


def test_amazon_2023_counts_by_parent_product_and_milliseconds() -> None:
    dataset = load_amazon(FIXTURES / "amazon_2023")
    assert rows(dataset.impressions, ("user_id", "item_id", "event_timestamp", "label")) == [
        ("AGKH", "B00YQ6X8E0", at(2020, 5, 5, 14, 8, 48, 923000), 1),
        ("AGKH", "B081TJ8YS3", at(2020, 5, 4, 18, 10, 55, 70000), 0),
        ("AE74", "B097R46CSY", at(2020, 5, 16, 21, 41, 6, 52000), 1),
    ]
    assert rows(dataset.items, ("item_id", "text", "category")) == [
        ("B00YQ6X8E0", "Hair spray\nSea salt Coconut\nFor waves.", "Hair Care"),
        ("B081TJ8YS3", "Vitamin C serum", "All Beauty"),
        ("B097R46CSY", "Eye shadow", "Beauty"),
    ]
    assert dataset.items["price"].to_pylist() == pytest.approx([12.99, 14.5, None])


def test_amazon_average_ratings_do_not_enter_the_items() -> None:
    for release in ("amazon_2018", "amazon_2023"):
        names = set(load_amazon(FIXTURES / release).items.column_names)
        assert names == {
            "item_id", "event_timestamp", "title", "text", "category", "price", "tags"
        }  # fmt: skip


def test_amazon_is_read_compressed_too(tmp_path: Path) -> None:
    for file in (FIXTURES / "amazon_2023").iterdir():
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert load_amazon(tmp_path) == load_amazon(FIXTURES / "amazon_2023")


def test_amazon_without_metadata_is_an_error(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "amazon_2018" / "Toys_5.json", tmp_path)
    with pytest.raises(InputError, match="1 files of reviews and 0 of metadata"):
        load_amazon(tmp_path)


def test_amazon_with_a_broken_line_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "amazon_2018", tmp_path, dirs_exist_ok=True)
    with (tmp_path / "Toys_5.json").open("a") as file:
        file.write('{"overall": 5.0, "reviewerID"\n')
    with pytest.raises(InputError, match=r"Toys_5\.json: can't be read"):
        load_amazon(tmp_path)
