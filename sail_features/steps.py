"""Times the steps of a run and watches the memory of the whole process tree.

Spark's JVM and its Python workers are children of this process; their memory is
summed by proportional set size, so that pages shared between them count once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil
from rich.console import Console

from sail_features.progress import Watch, watched

SAMPLE_S: Final = 0.5


class StepMeter:
    """Runs steps one after another and keeps what each cost.

    Parameters
    ----------
    console : where progress is printed, a line a step.

    Examples
    --------
    >>> meter = StepMeter(Console(quiet=True))
    >>> with meter.step("encode") as step:
    ...     step.say("3 items")
    >>> sorted(meter.steps["encode"])
    ['peak_gb', 'seconds']
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: dict[str, dict[str, float]] = {}

    @property
    def peak_gb(self) -> float:
        """The highest memory of any step, in 10^9 bytes."""
        return max((step["peak_gb"] for step in self.steps.values()), default=0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time one step; what it says is printed when it ends."""
        started = time.monotonic()
        with _PeakMemory() as memory, watched(self.console, name) as watch:
            step = Step(watch)
            yield step
        seconds = time.monotonic() - started
        self.steps[name] = {"seconds": round(seconds, 2), "peak_gb": round(memory.peak_gb, 3)}
        self.console.print(
            f"  {name:<12} {seconds:6.1f} s  {memory.peak_gb:5.2f} GB  {step.said}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


class Step:
    """A running step: ``watch`` it, and say in a sentence what it did."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.said = ""

    def say(self, sentence: str) -> None:
        """Set the sentence that is printed when the step ends."""
        self.said = sentence


class _PeakMemory:
    """Samples the process tree's memory from a thread."""

    def __init__(self) -> None:
        self.peak_gb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        self.peak_gb = max(self.peak_gb, tree_memory_gb())


def tree_memory_gb() -> float:
    """Return the memory of this process and its children, in 10^9 bytes."""
    this = psutil.Process()
    return sum(map(_memory_of, (this, *this.children(recursive=True)))) / 1e9


def _memory_of(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    # Only Linux knows shared pages; elsewhere what the process alone holds.
    shared_fairly: int = getattr(memory, "pss", memory.uss)
    return shared_fairly
