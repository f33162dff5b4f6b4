"""Item vectors in memory or memory-mapped: sorted ids and one unit vector an item.

Executors and servers share one copy on disk through the page cache. Vectors are
stored as float16 (error of a cosine below 1e-4, `match_facts.md` 4) and computed
with as float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features.errors import ConfigError, InputError

META_NAME: Final = "meta.json"
UNIT_TOLERANCE: Final = 5e-3
"""How far from 1 a stored norm may lie: float16 rounding in up to 8,192 dimensions."""


@dataclass(frozen=True)
class EmbeddingTable:
    """One unit vector an item.

    Parameters
    ----------
    ids : shape (items,), strings or int64, strictly ascending.
    vectors : shape (items, dim), float16 or float32, finite, of length 1.
    encoder_id : what made them; vectors of different encoders can't be compared.
    available_at_us : shape (items,), microseconds since 1970 UTC: when each
        vector could first have been known.

    Raises
    ------
    InputError
        Repeated or unsorted ids, wrong shapes, or vectors that are not finite
        unit vectors.
    """

    ids: NDArray[Any]
    vectors: NDArray[Any]
    encoder_id: str
    available_at_us: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check the invariants that every user of the table relies on."""
        rows = len(self.ids)
        if self.vectors.ndim != 2 or len(self.vectors) != rows or len(self.available_at_us) != rows:
            raise InputError.say(
                "EmbeddingTable",
                f"{rows} ids, {len(self.available_at_us)} times, vectors {self.vectors.shape}",
                hint="give one vector and one time an id",
            )
        if rows and not bool(np.all(self.ids[1:] > self.ids[:-1])):
            raise InputError.say("EmbeddingTable", "ids repeat or aren't sorted", hint="sort them")
        bad = self.ids[~_is_unit(self.vectors)]
        if len(bad):
            raise InputError.not_finite("EmbeddingTable", bad.tolist())

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def rows_of(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each id, -1 where an item has no vector.

        Examples
        --------
        >>> table = EmbeddingTable(np.array(["a", "c"]), np.eye(2, dtype=np.float32),
        ...                        "hash", np.zeros(2, np.int64))
        >>> table.rows_of(np.array(["c", "b"]))
        array([ 1, -1])
        """
        return rows_among(ids, self.ids)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of ``rows`` as float32, shape (len(rows), dim)."""
        taken: NDArray[np.float32] = self.vectors[rows].astype(np.float32)
        return taken

    def permuted(self, seed: int) -> Self:
        """Return the table with its vectors dealt out to other items at random.

        The placebo: everything but the link between an item and its content stays,
        so a lift that survives the permutation isn't one of content.
        """
        order = np.random.default_rng(seed).permutation(len(self.ids))
        return type(self)(self.ids, self.vectors[order], self.encoder_id, self.available_at_us)

    def prefix(self, dim: int) -> Self:
        """Return the table of each vector's first numbers, scaled to length 1 again.

        For encoders trained so that a prefix is an embedding, too (Matryoshka
        representation learning, arXiv 2205.13147, section 3).

        Raises
        ------
        ConfigError
            The vectors are shorter than that.
        """
        if dim > self.dim:
            raise ConfigError.say(
                "match.dim",
                f"asks for {dim} numbers of vectors of {self.dim}",
                hint=f"give at most {self.dim}, or null for all",
            )
        vectors = normalise(self.vectors[:, :dim].astype(np.float32))
        return type(self)(self.ids, vectors, self.encoder_id, self.available_at_us)

    def save(self, folder: Path) -> None:
        """Write the table for memory-mapping; ``meta.json`` last."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self.vectors.astype(np.float16), allow_pickle=False)
        save_items(folder, self.ids, self.available_at_us, self.encoder_id, self.dim)


def load_embedding_table(folder: Path) -> EmbeddingTable:
    """Memory-map a table that `EmbeddingTable.save` wrote.

    Raises
    ------
    ConfigError
        The folder holds no complete table.
    """
    meta = read_meta(folder)
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("ids", "vectors", "available_at_us")
    }
    return EmbeddingTable(
        np.asarray(arrays["ids"]), arrays["vectors"], meta["encoder_id"], arrays["available_at_us"]
    )


def save_items(
    folder: Path,
    ids: NDArray[Any],
    available_at_us: NDArray[np.int64],
    encoder_id: str,
    dim: int,
) -> None:
    """Write what any table of vectors tells of its items; ``meta.json``, which ends it, last."""
    np.save(folder / "ids.npy", ids, allow_pickle=False)
    np.save(folder / "available_at_us.npy", available_at_us, allow_pickle=False)
    meta = {"encoder_id": encoder_id, "items": len(ids), "dim": dim}
    (folder / META_NAME).write_text(json.dumps(meta), encoding="utf-8")


def read_meta(folder: Path) -> dict[str, Any]:
    """Return ``meta.json`` of a table of vectors.

    Raises
    ------
    ConfigError
        The folder holds no complete table.
    """
    path = folder / META_NAME
    if not path.is_file():
        raise ConfigError.file_missing(path)
    meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return meta


def rows_among(ids: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row of each id among the known ones, which ascend; -1 where it is none."""
    if not len(known):
        return np.full(len(ids), -1, np.int64)
    # Cut to the width of the known ids: else numpy would widen all of those at each call.
    sought = ids.astype(known.dtype) if known.dtype.kind == "U" else ids
    found = np.minimum(np.searchsorted(known, sought), len(known) - 1)
    return np.where(known[found] == ids, found, -1).astype(np.int64)


def pack_column(vectors: NDArray[Any]) -> pa.Array:
    """Return the rows as little-endian float16 bytes, the form that tables store.

    A row that isn't finite becomes null: a missing vector is absent, never zeros.

    Examples
    --------
    >>> unpack_vectors(pack_column(np.eye(2)).to_pylist(), 2)
    array([[1., 0.],
           [0., 1.]], dtype=float16)
    >>> pack_column(np.array([[1.0, 0.0], [np.nan, 0.0]])).null_count
    1
    """
    packed = np.ascontiguousarray(vectors, dtype="<f2")
    width = pa.binary(2 * packed.shape[1])
    fixed = pa.FixedSizeBinaryArray.from_buffers(width, len(packed), [None, pa.py_buffer(packed)])
    finite = pa.array(np.isfinite(packed).all(axis=1))
    return pc.if_else(finite, fixed.cast(pa.binary()), pa.scalar(None, pa.binary()))


def unpack_vectors(packed: list[bytes], dim: int) -> NDArray[np.float16]:
    """Return packed rows as an array of shape (len(packed), dim)."""
    return np.frombuffer(b"".join(packed), dtype="<f2").reshape(len(packed), dim)


def normalise(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return the rows scaled to length 1; rows without a finite length become NaN, never zero.

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]], dtype=float32)
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    safe = np.where((lengths > 0) & np.isfinite(lengths), lengths, np.nan)
    scaled: NDArray[np.float32] = (vectors / safe).astype(np.float32)
    return scaled


def _is_unit(vectors: NDArray[Any], block: int = 65_536) -> NDArray[np.bool_]:
    """Tell for each row whether it is finite and of length 1, in bounded memory."""
    good = np.empty(len(vectors), bool)
    for start in range(0, len(vectors), block):
        rows = vectors[start : start + block].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        good[start : start + block] = np.abs(lengths - 1) <= UNIT_TOLERANCE
    return good
