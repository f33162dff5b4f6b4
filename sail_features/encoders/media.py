"""Reads image and sound files that nobody has vetted: from one folder, and only files.

A catalogue's paths are input from outside. A path that leaves the media root (also by a
link), a pipe, a device or a file of gigabytes is refused before a decoder sees it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sail_features.encoders.protocol import Content, Prepared, Refusal

MAX_BYTES: Final = 64 << 20


class RefusedError(Exception):
    """Raised inside ``prepare`` with the reason; never leaves it."""


@dataclass(frozen=True)
class HashedFiles:
    """An item's files with the hash that they had when they were first read."""

    files: Content
    content_hash: str


@dataclass(frozen=True)
class MediaReader:
    """Returns the bytes of a file that an item names, or of the item's own bytes.

    Parameters
    ----------
    root : folder that every path must lie in, after links are followed; None
        refuses all paths.
    max_bytes : larger files are refused.
    """

    root: Path | None = None
    max_bytes: int = MAX_BYTES

    def read_each(self, content: Content, limit: int) -> Iterator[bytes]:
        """Yield the bytes of each of an item's files, one in memory at a time.

        Raises
        ------
        RefusedError
            A file can't be read, there are none or more than ``limit``, or, after the
            last one, they are no longer those that were hashed.
        """
        if not isinstance(content, HashedFiles):
            yield from map(self.read, as_sources(content, limit))
            return
        digests = []
        for data in map(self.read, as_sources(content.files, limit)):
            digests.append(hashlib.sha256(data))
            yield data
        if _join(digests) != content.content_hash:
            raise RefusedError("file was replaced while the job ran")

    def hash(self, content: Content, limit: int) -> str:
        """Return the SHA-256 of an item's bytes; of frames, that of their hashes.

        Raises
        ------
        RefusedError
            As in `read_each`.
        """
        return _join([hashlib.sha256(data) for data in self.read_each(content, limit)])

    def read(self, source: Content) -> bytes:
        """Return the bytes of one file.

        Raises
        ------
        RefusedError
            It is none of a path inside the root, a regular file, and small enough.
        """
        if isinstance(source, bytes | bytearray | memoryview):
            return self._checked(bytes(source))
        if not isinstance(source, str | Path) or not str(source).strip():
            raise RefusedError("no file")
        return self._checked(self._read_file(self._inside_root(source)))

    def _inside_root(self, source: str | Path) -> Path:
        if self.root is None:
            raise RefusedError("a path, but no media root is set")
        root = self.root.resolve()
        try:
            path = (root / source).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # also a null byte and a loop of links
            raise RefusedError("no such file") from None
        if not path.is_relative_to(root):
            raise RefusedError("file outside the media root")
        return path

    def _read_file(self, path: Path) -> bytes:
        # The path has no link in it any more. Its kind is asked for before opening, which
        # alone can hang or act on a device, and again after, in case it was swapped.
        try:
            _check_regular(path.lstat())
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            raise RefusedError("file can't be opened") from None
        with open(handle, "rb") as file:
            _check_regular(os.fstat(handle))
            return file.read(self.max_bytes + 1)

    def _checked(self, data: bytes) -> bytes:
        if not data:
            raise RefusedError("empty file")
        if len(data) > self.max_bytes:
            raise RefusedError(f"file larger than {self.max_bytes} bytes")
        return data


def _join(digests: Sequence[Any]) -> str:
    if len(digests) == 1:
        return str(digests[0].hexdigest())
    return hashlib.sha256(b"".join(one.digest() for one in digests)).hexdigest()


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError("not a regular file")


BYTES_ONLY: Final = MediaReader()
"""Reads no path at all."""


def prepare_each(
    prepare: Callable[[Content], Prepared], contents: Sequence[Content], *, threads: int, kind: str
) -> list[Any]:
    """Return each content prepared or refused; decoders run in several threads.

    Whatever a decoder raises on a broken file is a refusal: decoders raise almost
    anything, and a lack of memory is here a lack for that one file.
    """

    def attempt(content: Content) -> Prepared | Refusal:
        try:
            return prepare(content)
        except RefusedError as refused:
            return Refusal(str(refused))
        except Exception as error:
            return Refusal(f"{kind} can't be decoded ({type(error).__name__})")

    if threads <= 1 or len(contents) <= 1:
        return [attempt(content) for content in contents]
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        return list(pool.map(attempt, contents))


def as_sources(content: Content, limit: int) -> list[Content]:
    """Return the files of one item: itself, or its frames.

    Raises
    ------
    RefusedError
        No files, or more than ``limit``.
    """
    if not isinstance(content, list | tuple):
        return [content]
    if not content:
        raise RefusedError("no file")
    if len(content) > limit:
        raise RefusedError(f"more than {limit} files")
    return list(content)
