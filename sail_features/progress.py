"""How far a long run is, told to whoever watches: a terminal, a log, Spark's own UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from rich.console import Console

LINE_S: Final = 60.0
"""Where there is no terminal to draw on: at most one line in this many seconds."""


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` items after ``seconds`` of work."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Items a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        """Say how many, which share, how fast, and how long it will still take.

        Examples
        --------
        >>> print(Progress(done=600, total=2400, seconds=60))
        600 of 2,400 (25 %), 10 items/s, 3 min 0 s left
        """
        share = self.done / self.total if self.total else 1.0
        said = f"{self.done:,} of {self.total:,} ({share:.0%})".replace("%", " %")
        if not self.rate:
            return said
        left = (self.total - self.done) / self.rate
        return f"{said}, {self.rate:,.0f} items/s, {say_duration(left)} left"


Watch: TypeAlias = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """Tell nobody."""


def say_duration(seconds: float) -> str:
    """Return a duration in the two units that matter.

    Examples
    --------
    >>> [say_duration(s) for s in (9.4, 61, 7_260)]
    ['9 s', '1 min 1 s', '2 h 1 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def watched(console: Console, name: str) -> Iterator[Watch]:
    """Show a step's progress: a moving line on a terminal, else a line now and then."""
    last = time.monotonic()
    with console.status(f"{name} ...") as status:

        def show(progress: Progress) -> None:
            nonlocal last
            said = f"{name}: {progress}"
            if console.is_terminal:
                status.update(said)
            elif time.monotonic() - last >= LINE_S:
                last = time.monotonic()
                console.print(said, highlight=False, markup=False)

        yield show
