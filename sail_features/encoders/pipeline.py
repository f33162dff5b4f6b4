"""Drives an encoder: prepares ahead in a thread, batches by cost, survives bad rows.

A window of several Arrow batches is sorted longest first and cut into batches under a
budget of padded tokens; meanwhile a thread prepares the next window. At any moment two
windows are in memory, the one computed and the one prepared ahead, whatever the size
of the table.

A batch that fails is split in two until the row that broke it is alone; that row is
refused with its reason. If the failure was a lack of memory, the budget of all later
batches is halved as well and stays so. A lost device is no row's fault and is raised.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sail_features.embeddings import normalise
from sail_features.encoders.batching import longest_first, rows_that_fit
from sail_features.encoders.budget import default_budget, tune_budget
from sail_features.encoders.faults import is_device_lost, is_out_of_memory
from sail_features.encoders.protocol import Content, Encoder, Prepared, Refusal
from sail_features.encoders.work import FlopMeter
from sail_features.errors import InputError, SailError, show

NOT_FINITE: Final = "vector is not finite"

MAX_WINDOW_BYTES: Final = 256 << 20

Window = TypeVar("Window")


@dataclass
class Statistics:
    """What a pipeline did so far; ``padded_tokens`` includes ``real_tokens``."""

    items: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    real_tokens: int = 0
    padded_tokens: int = 0
    batches: int = 0
    out_of_memory: int = 0
    prepare_seconds: float = 0.0
    forward_seconds: float = 0.0
    flops: float = 0.0
    """Arithmetic of the real tokens; 0 where it can't be counted."""
    budget: int = 0
    probed: dict[int, float] = field(default_factory=dict)
    """Tokens a second that the probe saw for each budget; empty where none ran."""

    @property
    def padding_share(self) -> float:
        """Share of the computed tokens that was padding."""
        return 1 - self.real_tokens / self.padded_tokens if self.padded_tokens else 0.0


@dataclass(frozen=True)
class Encoded:
    """The vectors of some contents; row i is NaN exactly where ``reasons[i]`` isn't None."""

    vectors: NDArray[np.float32]
    reasons: list[str | None]


class EncodePipeline:
    """Encodes windows of contents with one encoder, one sticky budget and one count.

    Parameters
    ----------
    encoder : what to drive; its weights are loaded on first use.
    budget : padded tokens of one batch; None probes for the fastest on the first
        window that is large enough, and takes the device's default until then.
    """

    def __init__(self, encoder: Encoder, *, budget: int | None = None) -> None:
        self.encoder = encoder
        self.statistics = Statistics(budget=budget or default_budget(encoder.device))
        self._is_tuned = budget is not None
        self._is_loaded = False
        self._meter = FlopMeter()

    def take_statistics(self) -> Statistics:
        """Return the statistics since the last call, and begin new ones."""
        taken = self.statistics
        self.statistics = Statistics(budget=taken.budget, probed=taken.probed)
        return taken

    def encode(self, contents: Sequence[Content]) -> Encoded:
        """Encode one window in the order given."""
        return self._compute(self._prepare(contents))

    def stream(
        self, windows: Iterable[Window], contents_of: Callable[[Window], Sequence[Content]]
    ) -> Iterator[tuple[Window, Encoded]]:
        """Yield each window with its vectors, while a thread prepares the next one.

        Notes
        -----
        ``windows`` is read in that thread, one window ahead. An error in it is raised
        here, after the windows before it were yielded.
        """
        source = iter(windows)

        def prepare_next() -> tuple[Window, list[Prepared | Refusal]] | None:
            for window in source:
                return window, self._prepare(contents_of(window))
            return None

        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as thread:
            ahead = thread.submit(prepare_next)
            while (ready := ahead.result()) is not None:
                ahead = thread.submit(prepare_next)
                yield ready[0], self._compute(ready[1])

    def _prepare(self, contents: Sequence[Content]) -> list[Prepared | Refusal]:
        begin = time.perf_counter()
        prepared = self.encoder.prepare(contents)
        self.statistics.prepare_seconds += time.perf_counter() - begin
        return prepared

    def _compute(self, prepared: Sequence[Prepared | Refusal]) -> Encoded:
        if not self._is_loaded:
            self.encoder.load()
            self._is_loaded = True
        begin = time.perf_counter()
        good = [row for row, one in enumerate(prepared) if not isinstance(one, Refusal)]
        items = [prepared[row] for row in good]
        self._tune(items)
        found = _Found(self.encoder, items, self.statistics, self._meter)
        found.compute_all()
        vectors = np.full((len(prepared), self.encoder.dim), np.nan, np.float32)
        vectors[good] = normalise(found.vectors)
        reasons = [one.reason if isinstance(one, Refusal) else None for one in prepared]
        for place, row in enumerate(good):
            finite = bool(np.isfinite(vectors[row]).all())
            reasons[row] = found.reasons.get(place) or (None if finite else NOT_FINITE)
        vectors[[reason is not None for reason in reasons]] = np.nan
        self.statistics.items += len(prepared)
        self.statistics.refused.update(reason for reason in reasons if reason is not None)
        self.statistics.forward_seconds += time.perf_counter() - begin
        return Encoded(vectors, reasons)

    def _tune(self, items: Sequence[Prepared]) -> None:
        if self._is_tuned:
            return
        tuned = tune_budget(self.encoder, items)
        if tuned is not None:
            self.statistics.budget, self.statistics.probed = tuned.budget, tuned.rates
            self._is_tuned = True


class _Found:
    """The vectors of one window's prepared items, and the reasons of those without."""

    def __init__(
        self,
        encoder: Encoder,
        items: Sequence[Prepared],
        statistics: Statistics,
        meter: FlopMeter,
    ) -> None:
        costs = [encoder.cost(item) for item in items]
        self.order = longest_first(costs)
        self.costs = [costs[place] for place in self.order]
        self.items, self.encoder = items, encoder
        self.statistics, self.meter = statistics, meter
        self.vectors = np.full((len(items), encoder.dim), np.nan, np.float32)
        self.reasons: dict[int, str] = {}

    def compute_all(self) -> None:
        start = 0
        while start < len(self.order):
            stop = start + rows_that_fit(self.costs, start, self.statistics.budget)
            self._solve(start, stop)
            start = stop

    def _solve(self, start: int, stop: int) -> None:
        """Compute the rows ``order[start:stop]``; split them where they fail together."""
        error = self._try(start, stop)
        if error is None:
            return
        no_memory = is_out_of_memory(error)
        if no_memory:
            _free_device_memory()
            self.statistics.out_of_memory += 1
        if stop - start == 1:
            self.reasons[self.order[start]] = "out of memory" if no_memory else name_error(error)
            return
        if no_memory:
            half = self.costs[start] * (stop - start) // 2
            self.statistics.budget = max(1, min(self.statistics.budget, half))
        middle = (start + stop) // 2
        self._solve(start, middle)
        self._solve(middle, stop)

    def _try(self, start: int, stop: int) -> Exception | None:
        """Return the error without its traceback, which would keep the batch in memory."""
        places = self.order[start:stop]
        padded = self.costs[start] * (stop - start)
        try:
            self.vectors[places] = self.meter.run(
                self.encoder.forward, [self.items[place] for place in places], padded
            )
        except SailError:
            raise
        except Exception as error:
            if is_device_lost(error):
                raise
            return error.with_traceback(None)
        real = sum(self.costs[start:stop])
        self.statistics.batches += 1
        self.statistics.real_tokens += real
        self.statistics.padded_tokens += padded
        self.statistics.flops += real * self.meter.flops_per_token
        return None


def encode_contents(
    encoder: Encoder, contents: Sequence[Content], *, budget: int | None = None
) -> Encoded:
    """Encode contents of any number, windows of the encoder's size at a time.

    Examples
    --------
    >>> from sail_features.encoders.hashing import HashEncoder
    >>> encode_contents(HashEncoder(dim=8), ["red wine", ""]).reasons
    [None, 'no text']
    """
    pipeline = EncodePipeline(encoder, budget=budget or default_budget(encoder.device))
    windows = (
        contents[start : start + encoder.window_rows]
        for start in range(0, len(contents), encoder.window_rows)
    )
    parts = [encoded for _, encoded in pipeline.stream(windows, lambda window: window)]
    if not parts:
        return Encoded(np.empty((0, encoder.dim), np.float32), [])
    return Encoded(
        np.concatenate([part.vectors for part in parts]),
        [reason for part in parts for reason in part.reasons],
    )


def encode_or_raise(encoder: Encoder, contents: Sequence[Content]) -> NDArray[np.float32]:
    """Return the vectors of contents, all of which must be good.

    Raises
    ------
    InputError
        A content was refused.
    """
    encoded = encode_contents(encoder, contents)
    refused = [f"{row} ({why})" for row, why in enumerate(encoded.reasons) if why]
    if refused:
        raise InputError.say(
            encoder.encoder_id,
            f"{len(refused)} of {len(contents)} contents can't be encoded: {show(refused)}",
            hint="leave these rows out, or call encode_contents, which reports them",
        )
    return encoded.vectors


def iter_windows(
    batches: Iterable[Any], rows: int, *, max_bytes: int = MAX_WINDOW_BYTES
) -> Iterator[list[Any]]:
    """Yield Arrow batches in lists of ``rows`` rows or ``max_bytes``, whichever comes first.

    A batch larger than ``rows`` is sliced first (without a copy), so that a window
    never holds 2 ``rows`` or more.
    """
    window: list[Any] = []
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            window.append(batch.slice(start, rows))
            held = sum(piece.num_rows for piece in window)
            if held >= rows or sum(piece.nbytes for piece in window) >= max_bytes:
                yield window
                window = []
    if window:
        yield window


def name_error(error: BaseException) -> str:
    """Return an error as a reason: its class and first line, cut so that it groups rows."""
    first = str(error).strip().partition("\n")[0][:120]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _free_device_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
