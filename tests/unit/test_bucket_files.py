"""Of the files that tasks wrote, those of successful attempts are taken over, and no other."""

from __future__ import annotations

from pathlib import Path

from sail_features.spark.bucket_files import ATTEMPTS, path_of_bucket, write_buckets


class Finished:
    """A data frame whose tasks are done: one answer a bucket, as Spark gives it."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = answers

    def mapInArrow(self, task, schema):  # noqa: N802
        return self

    def collect(self):
        return list(self.answers)


def test_file_of_a_lost_attempt_is_dropped(tmp_path: Path):
    (tmp_path / ATTEMPTS).mkdir()
    for attempt in ("00003-5", "00003-7", "00004-6"):
        (tmp_path / ATTEMPTS / f"{attempt}.parquet").write_text(attempt)
    finished = Finished((3, "00003-7.parquet"), (4, "00004-6.parquet"))
    assert write_buckets(finished, iter, tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "part-00003.parquet",
        "part-00004.parquet",
    ]
    assert path_of_bucket(tmp_path, 3).read_text() == "00003-7"


def test_nothing_written_is_no_file(tmp_path: Path):
    assert write_buckets(Finished(), iter, tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
