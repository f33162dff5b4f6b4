"""Several vectors an item, such as a video's frames or an image's patches, memory-mapped."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.embeddings import read_meta, rows_among, save_items
from sail_features.encoders.omni.runs import Runs

VALUES: Final = "vectors.float16"


@dataclass(frozen=True)
class PartTable:
    """The parts of items; see `EmbeddingTable`, whose items have one vector each.

    Parameters
    ----------
    ids : shape (items,), strictly ascending.
    runs : each item's parts, at least one; float16, of length 1.
    available_at_us : shape (items,), microseconds since 1970 UTC.
    """

    ids: NDArray[Any]
    runs: Runs
    encoder_id: str
    available_at_us: NDArray[np.int64]

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return int(self.runs.values.shape[1])

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def rows_of(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each id, -1 where an item has no parts."""
        return rows_among(ids, self.ids)


def write_parts(
    folder: Path,
    windows: Iterable[Sequence[NDArray[np.float32] | None]],
    *,
    ids: NDArray[Any],
    encoder_id: str,
    available_at_us: NDArray[np.int64],
) -> None:
    """Write parts as they come, ``meta.json`` last.

    Parameters
    ----------
    windows : yields arrays (parts, dim) of some items at a time, all items in their order;
        None is an item that is left out. Where all are, no table is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        each, dim = _write_values(folder / VALUES, windows)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    there = each > 0
    if not there.any():
        shutil.rmtree(folder)
    else:
        np.save(folder / "counts.npy", each[there], allow_pickle=False)
        save_items(folder, ids[there], available_at_us[there], encoder_id, dim)


def _write_values(
    path: Path, windows: Iterable[Sequence[NDArray[np.float32] | None]]
) -> tuple[NDArray[np.int64], int]:
    """Return how many vectors each item has, and how long they are."""
    counts, dim = [], 0
    with path.open("wb") as file:
        for window in windows:
            counts += [0 if parts is None else len(parts) for parts in window]
            for parts in window:
                if parts is not None:
                    dim = parts.shape[1]
                    file.write(np.ascontiguousarray(parts, dtype="<f2").tobytes())
    return np.array(counts, np.int64), dim


def load_parts(folder: Path) -> PartTable:
    """Memory-map what `write_parts` wrote.

    Raises
    ------
    ConfigError
        The folder holds no complete table.
    """
    meta = read_meta(folder)
    ids, counts, times = (
        np.load(folder / f"{name}.npy", allow_pickle=False)
        for name in ("ids", "counts", "available_at_us")
    )
    shape = (int(counts.sum()), int(meta["dim"]))
    values = np.memmap(folder / VALUES, "<f2", mode="r", shape=shape)
    return PartTable(ids, Runs.by_counts(values, counts), meta["encoder_id"], times)
