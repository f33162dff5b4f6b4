"""What a ranker is to the judge: rows in, one score a test row and seed out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ranking_eval.matrix import Matrix
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.split import Split
from sail_features.config import EvalConfig


class RankerRows(NamedTuple):
    """All rows of an evaluation, as every arm's ranker gets them.

    Parameters
    ----------
    matrix : features, in a stable order of rows and columns.
    labels : 0 or 1, one a row.
    requests : code of each row's request, for rankers that learn from lists.
    split : which rows train, stop and test.
    """

    matrix: Matrix
    labels: Codes
    requests: Codes
    split: Split


@dataclass(frozen=True, eq=False)
class Fit:
    """An arm's rankers, one a seed, and what they say of the test rows.

    ``scores`` has shape (seeds, test rows), probabilities of label 1; ``importance``
    is each column's share of what the ranker uses (its gain, or its weights), averaged
    over seeds; ``model`` is the first seed's, as text.
    """

    scores: Floats
    best_iterations: tuple[int, ...]
    importance: Mapping[str, float]
    model: str
    seconds: float


class Ranker(Protocol):
    """Fits one ranker a seed and scores the test rows; the same rules for every arm."""

    def __call__(self, rows: RankerRows, config: EvalConfig) -> Fit:
        """Return scores from ``config.seeds`` fits.

        Training rows alone are learned from; when to stop, or how much to regularise,
        is decided on validation rows alone.
        """


def count_workers(fits: int) -> int:
    """Return how many fits to run side by side: one a core that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(fits, allowed or 1))
