"""Cosines on a GPU: what `compute_match` takes in place of `compute_similarity`.

Rows that are neighbours share a stretch of events; stretches of like size are padded
and multiplied as one batch. Everything else (which events, which features) stays the
same compiled code on the host. Agrees with the CPU within 1e-3: a GPU sums in another
order. Not bit-equal, so a deployment whose server has no GPU computes on the CPU.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from sail_features.match.block import Floats, Integers

ROWS_PER_GROUP: Final = 32
CELLS_PER_BATCH: Final = 8_000_000
"""Padded rows times events of a batch: 32 MB of cosines."""


class TorchSimilarity:
    """Computes cosines on a device; see `sail_features.match.similarity.compute_similarity`.

    Parameters
    ----------
    device : such as ``cuda:0``.

    Notes
    -----
    A table goes to the device once and stays there as it is stored, beside one other.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._tables: dict[int, tuple[NDArray[Any], torch.Tensor]] = {}

    def __call__(
        self,
        targets: NDArray[Any],
        target: Integers,
        histories: NDArray[Any],
        history: Integers,
        start: Integers,
        stop: Integers,
    ) -> Floats:
        """Return the cosine of each row's target and each of its events."""
        out = np.empty(int((stop - start).sum()), np.float32)
        if not len(out):
            return out
        wanted, held = self._on_device(targets), self._on_device(histories)
        ends = np.cumsum(stop - start).reshape(stop.shape)
        for run in range(start.shape[1]):
            low, high = (np.ascontiguousarray(edge[:, run]) for edge in (start, stop))
            self._fill(wanted, target, held, history, low, high, ends[:, run], out)
        return out

    def _fill(
        self,
        wanted: torch.Tensor,
        target: Integers,
        held: torch.Tensor,
        history: Integers,
        start: Integers,
        stop: Integers,
        ends: Integers,
        out: Floats,
    ) -> None:
        """Write one run's cosines; ``ends``, shape (rows,), is where each row's end in ``out``."""
        edges = _cut_groups(start, stop)
        first, last = edges[:-1], edges[1:]
        low, span = start[first], stop[last - 1] - start[first]
        by_size = np.argsort(span, kind="stable")
        per_batch = max(1, CELLS_PER_BATCH // (ROWS_PER_GROUP * int(max(span.max(), 1))))
        for at in range(0, len(by_size), per_batch):
            group = by_size[at : at + per_batch]
            rows = first[group, None] + np.arange((last - first)[group].max())
            inside = rows < last[group, None]
            rows = np.where(inside, rows, first[group, None])
            events = low[group, None] + np.arange(max(int(span[group].max()), 1))
            product = torch.bmm(
                self._take(wanted, np.maximum(target[rows], 0)),
                self._take(held, history[np.minimum(events, len(history) - 1)]).transpose(1, 2),
            )
            product = product.cpu().numpy()
            product[target[rows] < 0] = 0
            _scatter(product, rows, inside, low[group], start, stop, ends, out)

    def _on_device(self, table: NDArray[Any]) -> torch.Tensor:
        """Return a table's copy on the device; two stay there at a time."""
        if id(table) not in self._tables:
            while len(self._tables) > 1:
                del self._tables[next(iter(self._tables))]
            self._tables[id(table)] = (table, torch.from_numpy(np.array(table)).to(self._device))
        return self._tables[id(table)][1]

    def _take(self, table: torch.Tensor, rows: Integers) -> torch.Tensor:
        picked = torch.from_numpy(np.ascontiguousarray(rows)).to(self._device)
        return table[picked].to(torch.float32)


@njit(cache=True, nogil=True)
def _cut_groups(start: Integers, stop: Integers) -> Integers:
    """Cut rows into groups whose stretches of events overlap; return the edges."""
    edges = np.zeros(len(start) + 1, np.int64)
    count, first = 1, 0
    for row in range(1, len(start)):
        apart = start[row] >= stop[row - 1]
        long = stop[row] - start[first] > 2 * (stop[first] - start[first]) + ROWS_PER_GROUP
        if apart or long or row - first == ROWS_PER_GROUP:
            edges[count] = first = row
            count += 1
    edges[count] = len(start)
    return edges[: count + 1]


@njit(cache=True, nogil=True)
def _scatter(
    product: Floats,
    rows: Integers,
    inside: NDArray[np.bool_],
    low: Integers,
    start: Integers,
    stop: Integers,
    ends: Integers,
    out: Floats,
) -> None:
    """Write each row's stretch of a padded product to its place."""
    for group in range(len(rows)):
        for line in range(rows.shape[1]):
            if inside[group, line]:
                row = rows[group, line]
                from_, to = start[row] - low[group], stop[row] - low[group]
                out[ends[row] - to + from_ : ends[row]] = product[group, line, from_:to]
