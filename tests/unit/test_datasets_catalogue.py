"""A folder's format is recognised by its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sail_features.datasets.catalogue import FORMATS, load_dataset
from sail_features.datasets.synthetic import SyntheticConfig
from sail_features.errors import ConfigError, InputError

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("movielens_1m", "movielens"),
        ("movielens_csv", "movielens"),
        ("movielens_100k", "movielens"),
        ("mind", "mind"),
        ("amazon_2018", "amazon"),
        ("amazon_2023", "amazon"),
    ],
)
def test_format_is_recognised_whatever_the_folder_is_called(
    tmp_path: Path, folder: str, name: str
) -> None:
    moved = shutil.copytree(FIXTURES / folder, tmp_path / "some data")
    assert [known.name for known in FORMATS if known.recognises(moved)] == [name]
    assert load_dataset(str(moved)).name == name


def test_named_format_is_used_without_recognising() -> None:
    with pytest.raises(InputError, match=r"news\.tsv"):
        load_dataset(FIXTURES / "movielens_1m", format="mind")


def test_unknown_folder_is_an_error_that_lists_formats_and_files(tmp_path: Path) -> None:
    (tmp_path / "clicks.log").touch()
    with pytest.raises(ConfigError, match=r"online_retail, .*synthetic.*clicks\.log"):
        load_dataset(tmp_path)


def test_unknown_format_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown 'netflix'"):
        load_dataset(tmp_path, format="netflix")


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_dataset(tmp_path / "none")


def test_synthetic_world_is_made_as_configured() -> None:
    world = SyntheticConfig(users=20, items=50, impressions=400, seed=4, content_lift=0)
    dataset = load_dataset("synthetic", world=world)
    assert dataset.notes == ("Synthetic world, content_lift 0.0, seed 4.",)
    assert dataset.items.num_rows == 50
