"""The learning rate of a step: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math

from sail_features.training.settings import TrainSettings


def rate_at(step: int, settings: TrainSettings) -> float:
    """Return the learning rate of a step, counted from 0.

    Warm-up and cosine are those of arXiv 2510.12709; a linear warm-up is chosen here.

    Examples
    --------
    >>> settings = TrainSettings(steps=12, warmup_steps=2, learning_rate=1.0, final_rate=0.5)
    >>> [round(rate_at(step, settings), 2) for step in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.75, 0.5]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    gone = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    cosine = (1 + math.cos(math.pi * min(1.0, gone))) / 2
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * cosine)
