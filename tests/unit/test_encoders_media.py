"""Reading media files that nobody has vetted."""

from __future__ import annotations

import os
import socket

import pytest

from sail_features.encoders.media import MediaReader, RefusedError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "good").write_bytes(b"good")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def refusal(reader: MediaReader, source: object) -> str:
    with pytest.raises(RefusedError) as caught:
        reader.read(source)
    return str(caught.value)


def test_files_inside_the_root_are_read_by_any_spelling(root):
    reader = MediaReader(root)
    (root / "link").symlink_to(root / "sub" / "good")
    for path in ("sub/good", root / "sub" / "good", "sub/../sub/good", "link"):
        assert reader.read(path) == reader.read(str(path)) == b"good"
    assert reader.read(b"bytes") == reader.read(memoryview(b"bytes")) == b"bytes"


def test_a_root_that_is_a_link_itself_is_fine(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert MediaReader(tmp_path / "alias").read("sub/good") == b"good"


def test_paths_out_of_the_root_are_refused(root, tmp_path):
    (root / "file-link").symlink_to(tmp_path / "secret")
    (root / "folder-link").symlink_to(tmp_path)
    (tmp_path / "media-too").mkdir()
    (tmp_path / "media-too" / "x").write_bytes(b"x")
    paths = [
        "../secret", str(tmp_path / "secret"), "file-link", "folder-link/secret",
        "sub/../../secret", str(tmp_path / "media-too" / "x"), "/dev/zero", "/etc/hostname",
    ]  # fmt: skip
    assert {refusal(MediaReader(root), path) for path in paths} == {"file outside the media root"}


def test_only_regular_files_are_read_and_a_pipe_does_not_hang(root):
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s"))
        reasons = [refusal(MediaReader(root), path) for path in ("pipe", "s", "sub", ".")]
    assert reasons[0] == "not a regular file"
    assert set(reasons) == {"not a regular file"}


def test_what_is_no_file_is_refused(root):
    (root / "loop").symlink_to(root / "loop")
    reader = MediaReader(root)
    for path in ("nothing", "sub/good/deeper", "nul\0byte", "x" * 5000, "loop"):
        assert refusal(reader, path) == "no such file"
    for source in (None, 3, "", "  ", ["sub/good"]):
        assert refusal(reader, source) == "no file"
    assert refusal(MediaReader(), "sub/good") == "a path, but no media root is set"


def test_size_is_bounded_for_files_and_bytes(root):
    (root / "empty").touch()
    with (root / "huge").open("wb") as file:
        file.truncate(10 << 30)  # a sparse file: 10 GiB of no blocks
    reader = MediaReader(root, max_bytes=1000)
    assert refusal(reader, "empty") == refusal(reader, b"") == "empty file"
    assert refusal(reader, "huge") == refusal(reader, b"x" * 1001) == "file larger than 1000 bytes"
    assert len(reader.read(b"x" * 1000)) == 1000
