"""Vectors and lists that a join holds apart come back as they were, in memory and in files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sail_features.feast_plugin.stores import wide_columns
from sail_features.feast_plugin.stores.database import load_table, open_database
from sail_features.feast_plugin.stores.parquet_files import write_parquet
from sail_features.feast_plugin.stores.wide_columns import hold_apart, put_in

VIEW = pa.table(
    {
        "key": [3, 1, 2, 4],
        "packed": pa.array([b"\x00\x01", None, b"", b"\x00\x01"], pa.binary()),
        "list": pa.array([[1.5], [], None, [1.5]], pa.list_(pa.float32())),
        "name": ["ü", "b", None, "ü"],
    }
)
FEATURES = ["packed", "list", "name"]
PLACES = pa.array([2, None, 0, 3, 1], pa.int64())
EXPECTED = {
    "packed": [b"", None, b"\x00\x01", b"\x00\x01", None],
    "list": [None, None, [1.5], [1.5], []],
    "name": [None, None, "ü", "ü", "b"],
}


def answers() -> tuple[pa.RecordBatch, dict[int, wide_columns.WideColumns]]:
    con = open_database()
    held = hold_apart(con, load_table(con, VIEW, "rows_of_view"), FEATURES, ["key"])
    assert held is not None
    name, columns = held
    keys = con.execute(f"SELECT rowid, key FROM {name} ORDER BY rowid").fetchall()  # noqa: S608
    assert keys == [(0, 3), (1, 1), (2, 2), (3, 4)]
    batch = pa.RecordBatch.from_pydict({"row": list(range(5)), "place": PLACES, "last": [0] * 5})
    return batch, {1: columns}


@pytest.mark.parametrize("encoded", [False, True])
def test_places_become_what_lies_there(encoded: bool) -> None:
    batch, wide = answers()
    columns = put_in(batch, wide, encoded=encoded)
    assert [column.to_pylist() for column in columns[1:4]] == list(EXPECTED.values())
    assert columns[0].to_pylist() == list(range(5))
    assert columns[4].to_pylist() == [0] * 5
    kinds = [pa.types.is_dictionary(column.type) for column in columns[1:4]]
    assert kinds == ([True, False, True] if encoded else [False] * 3)


@pytest.mark.parametrize("name", ["joined.parquet", "joined"])
def test_files_hold_values_whatever_the_writer_was_given(tmp_path: Path, name: str) -> None:
    batch, wide = answers()
    schemas, found = [], []
    for encoded in (False, True):
        columns = put_in(batch, wide, encoded=encoded)
        rows = pa.RecordBatch.from_arrays(columns, names=["row", *FEATURES, "last"])
        path = tmp_path / str(encoded) / name
        reader = pa.RecordBatchReader.from_batches(rows.schema, [rows, rows])
        write_parquet(reader, str(path))
        schemas.append(ds.dataset(path, format="parquet").schema)
        found.append(ds.dataset(path, format="parquet").to_table())
    assert schemas[0].equals(schemas[1])
    assert found[0].equals(found[1])
    assert found[0]["packed"].to_pylist() == EXPECTED["packed"] * 2


def test_a_vector_of_many_rows_is_in_the_file_once(tmp_path: Path) -> None:
    rows, vector = 50_000, bytes(range(256)) * 3
    refer = pa.DictionaryArray.from_arrays(pa.array([0] * rows), pa.array([vector], pa.binary()))
    batch = pa.RecordBatch.from_arrays([refer], names=["embedding"])
    path = tmp_path / "rows.parquet"
    write_parquet(pa.RecordBatchReader.from_batches(batch.schema, [batch]), str(path))
    assert path.stat().st_size < 10 * len(vector)
    assert pq.read_table(path)["embedding"].unique().to_pylist() == [vector]


@pytest.mark.parametrize("name", ["none.parquet", "none"])
def test_no_rows_are_a_file_with_columns(tmp_path: Path, name: str) -> None:
    schema = pa.schema([("row", pa.int64()), ("packed", pa.binary())])
    write_parquet(pa.RecordBatchReader.from_batches(schema, []), str(tmp_path / name))
    found = ds.dataset(tmp_path / name, format="parquet").to_table()
    assert found.schema.equals(schema)
    assert found.num_rows == 0


def test_what_is_too_large_stays_in_the_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_columns, "MAX_BYTES", 10)
    con = open_database()
    relation = load_table(con, VIEW, "rows_of_view")
    assert hold_apart(con, relation, FEATURES, ["key"]) is None
    left = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert left == {"rows_of_view"}
