"""Tables on disk: published whole or not at all, repeatable, and chained in time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sail_features.errors import InputError, MissingTableError
from sail_features.manifest import (
    MANIFEST_NAME,
    InputRef,
    Manifest,
    read_manifest,
    run_key,
    sha256_of,
    sha256_of_pages,
)
from sail_features.tables import TableStore, format_as_of, parse_as_of

TABLE = "events"


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=UTC)


def rows(*values: int) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64())})


def put(
    store: TableStore,
    as_of: datetime,
    *values: int,
    since: datetime | None = None,
    inputs: tuple[InputRef, ...] = (),
    config: dict[str, object] | None = None,
) -> Manifest:
    with store.replace_partition(
        TABLE, as_of, since=since, inputs=inputs, config=config or {}
    ) as partition:
        partition.write(rows(*values))
    return store.latest(TABLE, as_of)


def put_and_fail(store: TableStore, error: BaseException) -> None:
    with store.replace_partition(TABLE, day(2), config={"new": True}) as partition:
        partition.write(rows(9))
        raise error


def values_of(store: TableStore, as_of: datetime | None = None) -> list[int]:
    return store.read(TABLE, as_of)["value"].to_pylist()


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "tables")


def folders(store: TableStore) -> list[str]:
    return sorted(path.name for path in (store.root / TABLE).iterdir())


# ---- times in folder names


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("2024-03-01", "2024-03-01"),
        ("2024-03-01T00:00:00Z", "2024-03-01"),
        ("2024-03-01T06:30", "2024-03-01T063000Z"),
        ("2024-03-01T06:30:00+02:00", "2024-03-01T043000Z"),
        ("2024-03-01T00:00:00.000001Z", "2024-03-01T000000.000001Z"),
    ],
)
def test_moment_has_one_folder_name(text, folder):
    assert format_as_of(parse_as_of(text)) == folder


def test_folder_name_is_that_of_utc_whatever_the_zone():
    tokyo = datetime(2024, 3, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    assert format_as_of(tokyo) == "2024-03-01"


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "01/03/2024"])
def test_text_that_is_no_date_is_refused(text):
    with pytest.raises(InputError, match="is no date"):
        parse_as_of(text)


# ---- publishing


def test_published_rows_come_back_with_their_manifest(store):
    manifest = put(store, day(2), 1, 2, 3)
    assert values_of(store) == [1, 2, 3]
    assert manifest.rows == 3
    assert manifest.as_of == day(2)
    assert folders(store) == ["as_of=2024-01-02"]


def test_exception_inside_the_block_leaves_the_old_partition(store):
    before = put(store, day(2), 1)
    with pytest.raises(RuntimeError, match="out of paper"):
        put_and_fail(store, RuntimeError("out of paper"))
    assert store.latest(TABLE) == before
    assert values_of(store) == [1]
    assert folders(store) == ["as_of=2024-01-02"]


def test_nothing_is_seen_before_the_block_ends(store):
    with store.replace_partition(TABLE, day(2), config={}) as partition:
        partition.write(rows(9))
        assert store.manifests(TABLE) == ()
        with pytest.raises(MissingTableError):
            store.read(TABLE)
    assert values_of(store) == [9]


def test_folder_without_a_manifest_does_not_count(store):
    put(store, day(2), 1)
    (store.partition(TABLE, day(3))).mkdir()
    assert [m.as_of for m in store.manifests(TABLE)] == [day(2)]


def test_same_inputs_give_the_same_created_and_fingerprint(store):
    ref = InputRef(table="items", as_of=day(1), fingerprint="f")
    first = put(store, day(2), 1, 2, inputs=(ref,), config={"a": 1, "b": 2})
    again = put(store, day(2), 1, 2, inputs=(ref,), config={"b": 2, "a": 1})
    assert again.created == first.created
    assert again.fingerprint == first.fingerprint
    assert again.run_key == first.run_key


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"a": 2}},
        {"since": day(1)},
        {"inputs": (InputRef(table="items", as_of=day(1), fingerprint="g"),)},
    ],
)
def test_changed_input_or_setting_gives_a_new_created(store, change):
    first = put(store, day(2), 1, config={"a": 1})
    assert put(store, day(2), 1, **{"config": {"a": 1}, **change}).created > first.created


def test_order_of_inputs_and_code_version_enter_the_run_key(monkeypatch):
    one, two = (InputRef(table=name, as_of=day(1), fingerprint="f") for name in "ab")
    key = run_key(TABLE, day(2), None, [one, two], {})
    assert key != run_key(TABLE, day(2), None, [two, one], {})
    monkeypatch.setattr("sail_features.manifest.__version__", "99")
    assert key != run_key(TABLE, day(2), None, [one, two], {})


def test_only_data_files_are_kept_and_named_in_order(store):
    with store.replace_partition(TABLE, day(2), config={}) as partition:
        for name, value in (("part-00001-b.parquet", 2), ("part-00000-a.parquet", 1)):
            pq.write_table(rows(value), partition.folder / name)
        (partition.folder / "_SUCCESS").touch()
        (partition.folder / ".part-00000-a.parquet.crc").touch()
        (partition.folder / "_work").mkdir()
        (partition.folder / "_work" / "x.parquet").touch()
    found = sorted(path.name for path in store.partition(TABLE, day(2)).iterdir())
    assert found == [MANIFEST_NAME, "part-00000.parquet", "part-00001.parquet"]
    assert values_of(store) == [1, 2]


def test_fingerprint_ignores_the_footer_and_nothing_else(tmp_path):
    hashes = {}
    for name, values, note in (("a", [1], "x"), ("b", [1], "another"), ("c", [2], "x")):
        table = rows(*values).replace_schema_metadata({"note": note})
        pq.write_table(table, tmp_path / name)
        hashes[name] = sha256_of_pages(tmp_path / name)
    assert hashes["a"] == hashes["b"] != hashes["c"]


def test_manifest_survives_its_own_file(store, tmp_path):
    manifest = put(store, day(2), 1, since=day(1), config={"a": [1, None]})
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert read_manifest(tmp_path / "nowhere") is None
    assert manifest.config_sha256 == sha256_of({"a": [1, None]})
    assert json.loads((tmp_path / MANIFEST_NAME).read_text())["rows"] == 1


# ---- after a crash


def staging(store: TableStore, pid: int, host: str | None = None) -> Path:
    folder = store.root / TABLE / f"_staging-as_of=2024-01-02-{host or socket.gethostname()}-{pid}"
    folder.mkdir(parents=True)
    (folder / "part-00000.parquet").touch()
    return folder


def dead_pid() -> int:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, check=True)  # fmt: skip
    return int(process.stdout)


def test_staging_of_a_dead_process_is_removed(store):
    left = staging(store, dead_pid())
    put(store, day(3), 1)
    assert not left.exists()


def test_staging_of_a_living_process_and_of_another_host_stay(store):
    living = staging(store, os.getppid())
    elsewhere = staging(store, dead_pid(), host="another-host")
    put(store, day(3), 1)
    assert living.exists()
    assert elsewhere.exists()
    assert values_of(store) == [1]


def test_partition_killed_between_the_two_renames_is_restored(store):
    put(store, day(2), 1)
    target = store.partition(TABLE, day(2))
    target.rename(target.with_name(f"_replaced-{target.name}"))
    put(store, day(3), 3, since=day(2))
    assert values_of(store) == [1, 3]
    assert folders(store) == ["as_of=2024-01-02", "as_of=2024-01-03"]


def test_partition_killed_after_the_second_rename_keeps_the_new_rows(store):
    put(store, day(2), 1)
    target = store.partition(TABLE, day(2))
    shutil.copytree(target, target.with_name(f"_replaced-{target.name}"))
    put(store, day(2), 2)
    assert values_of(store) == [2]
    assert folders(store) == ["as_of=2024-01-02"]


# ---- chains


def test_partition_without_since_supersedes_all_before(store):
    put(store, day(2), 2)
    put(store, day(3), 3)
    assert values_of(store) == [3]
    assert values_of(store, day(2)) == [2]


def test_partitions_with_since_are_chained_back_to_the_first_whole_one(store):
    put(store, day(2), 1)
    put(store, day(3), 2)
    put(store, day(5), 4, since=day(3))
    put(store, day(8), 7, since=day(5))
    assert values_of(store) == [2, 4, 7]
    assert values_of(store, day(7)) == [2, 4]
    assert [m.as_of for m in store.covering(TABLE, day(5))] == [day(3), day(5)]


def test_partitions_that_overlap_the_chain_are_left_out(store):
    put(store, day(2), 1)
    put(store, day(4), 3, since=day(2))
    put(store, day(6), 5, since=day(2))
    assert values_of(store) == [1, 5]
    assert values_of(store, day(5)) == [1, 3]


def test_optional_column_that_came_later_is_null_before(store):
    put(store, day(2), 1)
    with store.replace_partition(TABLE, day(3), since=day(2), config={}) as partition:
        partition.write(rows(2).append_column("position", pa.array([7], pa.int32())))
    assert store.read(TABLE).to_pylist() == [
        {"value": 1, "position": None},
        {"value": 2, "position": 7},
    ]


def test_missing_table_names_the_command_that_makes_it(store):
    with pytest.raises(MissingTableError, match="sail-features import"):
        store.covering(TABLE)
    put(store, day(5), 1)
    with pytest.raises(MissingTableError, match="its first partition is as of 2024-01-05"):
        store.latest(TABLE, day(4))


def test_gap_between_partitions_is_refused(store):
    put(store, day(7), 1)
    put(store, day(10), 1, since=day(8))
    assert store.latest(TABLE).as_of == day(10)
    with pytest.raises(MissingTableError, match="no partition covers"):
        store.covering(TABLE)


def test_partition_that_begins_inside_another_is_refused(store):
    put(store, day(7), 1)
    put(store, day(10), 1, since=day(5))
    with pytest.raises(MissingTableError, match="--since 2024-01-07"):
        store.covering(TABLE)


def test_manifest_of_another_version_is_refused(store):
    put(store, day(7), 1)
    path = store.partition(TABLE, day(7)) / "_manifest.json"
    path.write_text(path.read_text().replace('"rows"', '"lines"'))
    with pytest.raises(InputError, match="upgrade"):
        store.covering(TABLE)


def test_moment_of_a_partition_may_be_any(store):
    moment = datetime(2024, 1, 2, 3, 4, 5, 6, UTC)
    put(store, moment, 1)
    assert store.latest(TABLE, moment).as_of == moment
    assert Path(store.glob(TABLE)).parent.parent == store.root / TABLE
