"""Files a user brings: nothing is guessed that could damage an id or a time."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sail_features.datasets.source_files import read_table
from sail_features.errors import InputError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_keeps_leading_zeros_and_reads_empty_fields_as_null(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", 'id,note\n007,"a, b"\n008,\n'))
    assert table.to_pylist() == [{"id": "007", "note": "a, b"}, {"id": "008", "note": None}]


def test_tsv_is_divided_by_tabs(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.tsv", "id\tnote\n1\tx, y\n"))
    assert table.to_pylist() == [{"id": "1", "note": "x, y"}]


def test_json_lines_keep_the_zone_of_times(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.jsonl", '{"at": "2024-01-01T00:00:00+02:00", "n": 1}\n'))
    assert table.to_pylist() == [{"at": "2024-01-01T00:00:00+02:00", "n": 1}]


@pytest.mark.parametrize(("name", "text"), [("a.csv.gz", "id\n1\n"), ("a.jsonl.gz", '{"id": "1"}')])
def test_compressed_text_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert read_table(tmp_path / name).to_pylist() == [{"id": "1"}]


def test_dictionary_columns_of_parquet_are_decoded(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array(["a", "a"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").schema.field("id").type == pa.string()


def test_a_folder_of_one_kind_is_one_table_without_markers(tmp_path: Path) -> None:
    write(tmp_path / "day=2" / "b.csv", "id\n2\n")
    write(tmp_path / "day=1" / "a.csv", "id\n1\n")
    write(tmp_path / "_SUCCESS", "")
    assert read_table(tmp_path)["id"].to_pylist() == ["1", "2"]


def test_a_folder_of_two_kinds_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id\n1\n")
    write(tmp_path / "b.jsonl", '{"id": 1}\n')
    with pytest.raises(InputError, match=r"it holds \.csv, \.jsonl files"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.parquet", "not parquet", "can't be read"),
        ("a.csv", "id,note\n1\n", "Expected 2 columns, got 1"),
        ("a.csv", "", "Empty CSV file"),
        ("a.jsonl", '{"id": 1}\n{"id": "a"}\n', "changed from number to string"),
        ("a.xlsx", "x", "not a kind of file that is known here"),
    ],
)
def test_unreadable_file_is_an_error_that_names_it(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_table(write(tmp_path / name, text))
    assert name in str(error.value)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_table(tmp_path / "none.csv")
