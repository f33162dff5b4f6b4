"""Rolling folds: the test period in blocks, each scored by a ranker trained up to it.

With one fold the ranker grows old over the test period; with several it is fitted
again before each block, as a scheduled training does. Scores of different rankers are
never held against each other: AUC pairs rows within a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ranking_eval.metrics.arrays import Codes
from ranking_eval.rankers import Fit, RankerRows, fit_ranker
from ranking_eval.split import Split, rows_between
from ranking_eval.times import Microseconds, to_datetime
from sail_features.config import EvalConfig

Folds = tuple[Split, ...]


def split_folds(times: Microseconds, labels: Codes, split: Split, config: EvalConfig) -> Folds:
    """Cut the test period into ``config.folds`` blocks of about as many rows.

    Parameters
    ----------
    times : of all rows.
    labels : 0 or 1, one a row.
    split : of the whole; with one fold it is returned as it is.

    Returns
    -------
    A split a block: its test rows are the block, its validation rows as many before it
    as the whole has, its training rows all between the warm-up and those. Rows of one
    moment stay together, which can leave fewer blocks.

    Raises
    ------
    EvaluationError
        A part is empty or holds one label only.
    """
    if config.folds == 1:
        return (split,)
    gap, positive = round(config.gap_s * 1e6), labels == 1
    tested = np.sort(times[split.test])
    places = [round(fold * tested.size / config.folds) for fold in range(config.folds)]
    edges = [*np.unique(tested[places]).tolist(), int(tested[-1]) + 1]
    first, wanted = int(times[split.train].min()), round(config.validation_share * times.size)
    folds = []
    for number, (begin, end) in enumerate(pairwise(edges), start=1):
        validation = int(np.sort(times[times < begin])[-wanted])
        name = f"fold {number}'s"
        folds.append(
            replace(
                split,
                train_end=to_datetime(validation - gap),
                validation_start=to_datetime(validation),
                validation_end=to_datetime(begin - gap),
                test_start=to_datetime(begin),
                train=rows_between(f"{name} train", times, positive, first, validation - gap),
                validation=rows_between(
                    f"{name} validation", times, positive, validation, begin - gap
                ),
                test=rows_between(f"{name} test", times, positive, begin, end),
            )
        )
    return tuple(folds)


def number_folds(folds: Folds, test: Codes) -> Codes | None:
    """Return the fold of each test row, shape (test rows,); None where there is one fold."""
    if len(folds) == 1:
        return None
    number = np.empty(max(int(fold.test.max()) for fold in folds) + 1, np.int64)
    for at, fold in enumerate(folds):
        number[fold.test] = at
    return number[test]


def fit_folds(rows: RankerRows, folds: Sequence[Split], config: EvalConfig) -> Fit:
    """Fit every fold; scores stand in the order of ``rows.split.test``.

    Importance is averaged over folds; rounds and model are the last fold's.
    """
    fits = [fit_ranker(rows._replace(split=fold), config) for fold in folds]
    scores = np.empty((len(config.seeds), len(rows.labels)))
    for fold, fit in zip(folds, fits, strict=True):
        scores[:, fold.test] = fit.scores
    return replace(
        fits[-1],
        scores=scores[:, rows.split.test],
        importance={
            name: sum(fit.importance[name] for fit in fits) / len(fits)
            for name in fits[0].importance
        },
        seconds=sum(fit.seconds for fit in fits),
    )
