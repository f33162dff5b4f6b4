"""How many padded tokens a batch should have: probed on the device, not guessed.

A CPU is fastest while a batch's activations stay in its cache (1 to 4 thousand
tokens), a GPU needs many to be busy (16 to 64 thousand); where the best lies depends on
the model and the machine (`encode_facts.md` 3.2).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sail_features.encoders.batching import iter_batches
from sail_features.encoders.faults import is_device_lost
from sail_features.encoders.protocol import Encoder, Prepared
from sail_features.errors import SailError

CPU_BUDGETS: Final = (1024, 2048, 4096)
GPU_BUDGETS: Final = (16_384, 32_768, 65_536)
DEFAULTS: Final = {"cpu": 1024, "cuda": 32_768}
ROUNDS: Final = 2
LEAST_TOKENS: Final = {"cpu": 90 * CPU_BUDGETS[-1], "cuda": 8 * GPU_BUDGETS[-1]}
"""Windows with less aren't worth a probe (chosen here): it takes nine of the largest
batches, a tenth of such a window on a CPU and a fraction of a second on a GPU."""


@dataclass(frozen=True)
class Tuned:
    """The budget chosen, and tokens a second of each that was tried."""

    budget: int
    rates: dict[int, float]


def budgets_of(device: str) -> tuple[int, ...]:
    """Return the budgets worth trying on a device."""
    return GPU_BUDGETS if device.startswith("cuda") else CPU_BUDGETS


def default_budget(device: str) -> int:
    """Return what to use where no probe ran."""
    return DEFAULTS[device.partition(":")[0]]


def tune_budget(encoder: Encoder, items: Sequence[Prepared]) -> Tuned | None:
    """Try each budget on a spread sample of a window, and return the fastest.

    None where the window is too small to be worth it. A budget whose batches fail is
    not chosen; rows that can't be computed are for the pipeline to find.

    Notes
    -----
    Budgets take turns in each of two rounds and the better round counts, so that a
    neighbour on the machine slows them alike. A first turn warms up and isn't counted.
    """
    candidates = budgets_of(encoder.device)
    costs = [encoder.cost(item) for item in items]
    if sum(costs) < LEAST_TOKENS[encoder.device.partition(":")[0]]:
        return None
    step = round(sum(costs) / candidates[-1])
    sample = [items[row] for row in sorted(range(len(items)), key=costs.__getitem__)[::step]]
    rates = dict.fromkeys(candidates, 0.0)
    for turn in range(ROUNDS + 1):
        for budget in candidates if turn % 2 else reversed(candidates):
            rate = _rate(encoder, sample, budget)
            rates[budget] = max(rates[budget], rate if turn else 0.0)
    best = max(candidates, key=rates.__getitem__)
    return Tuned(best if rates[best] else default_budget(encoder.device), rates)


def _rate(encoder: Encoder, sample: Sequence[Prepared], budget: int) -> float:
    """Return real tokens a second; 0 where a batch failed."""
    clock = time.perf_counter if encoder.device.startswith("cuda") else time.thread_time
    costs = [encoder.cost(item) for item in sample]
    begin = clock()
    try:
        for batch in iter_batches(costs, budget):
            encoder.forward([sample[row] for row in batch])
    except SailError:
        raise
    except Exception as error:
        if is_device_lost(error):
            raise
        return 0.0
    return sum(costs) / max(clock() - begin, 1e-9)
