"""CPU time of a process and all that it started."""

from __future__ import annotations

import contextlib

import psutil


def cpu_of_each(this: psutil.Process | None = None) -> dict[int, float]:
    """Return the CPU seconds of a process, by default this one, and of each below it."""
    this, spent = this or psutil.Process(), {}
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent


def cpu_of_tree(this: psutil.Process | None = None) -> float:
    """Return the CPU seconds of a process and of all below it."""
    return sum(cpu_of_each(this).values())
