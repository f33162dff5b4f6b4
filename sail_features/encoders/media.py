"""Reads image and sound files that nobody has vetted: from one folder, and only files.

A catalogue's paths are input from outside. A path that leaves the media root (also by a
link), a pipe, a device or a file of gigabytes is refused before a decoder sees it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sail_features.encoders.protocol import Content, Prepared, Refusal

MAX_BYTES: Final = 64 << 20


class RefusedError(Exception):
    """Raised inside ``prepare`` with the reason; never leaves it."""


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

    def read(self, source: Content) -> bytes:
        """Return the bytes.

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
        No frames, or more than ``limit``.
    """
    if not isinstance(content, list | tuple):
        return [content]
    if not content:
        raise RefusedError("no file")
    if len(content) > limit:
        raise RefusedError(f"more than {limit} frames")
    return list(content)
