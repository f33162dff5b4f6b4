"""The judge's ranker: LightGBM, the same parameters, rows and seeds for every arm.

Bagging is the only thing that a seed changes: with ``feature_fraction`` below 1
a column more changes the lottery of columns in every tree, and fits differ more
by their seed. Each fit runs on one thread and fits run side by side, which is
faster than threads within a fit and gives the same bits on any machine.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ranking_eval.matrix import Matrix
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.split import Rows, Split
from sail_features.config import EvalConfig

Params = Mapping[str, float | int | str | bool]

DEFAULTS: Final[Params] = MappingProxyType(
    {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 50,
        "feature_fraction": 1.0,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
)


@dataclass(frozen=True, eq=False)
class Fit:
    """An arm's rankers, one a seed, and what they say of the test rows.

    ``scores`` has shape (seeds, test rows); ``importance`` is each column's share
    of the total gain, averaged over seeds; ``model`` is the first seed's, as text.
    """

    scores: Floats
    best_iterations: tuple[int, ...]
    importance: Mapping[str, float]
    model: str
    seconds: float


def fit_ranker(matrix: Matrix, labels: Codes, split: Split, config: EvalConfig) -> Fit:
    """Fit one ranker a seed, stopped early by log loss on the validation rows.

    Parameters
    ----------
    matrix : features of all rows, in a stable order of rows and columns.
    labels : 0 or 1, one a row.
    split : which rows train, stop and test.
    config : seeds, rounds, and parameters that win over `DEFAULTS`.

    Notes
    -----
    Columns are binned once and the bins shared by all seeds.
    """
    began = time.perf_counter()
    params = {**DEFAULTS, **config.params}
    training = _bin_columns(matrix, labels, split.train, params).construct()
    tested = matrix.values[split.test]

    def fit_seed(seed: int) -> tuple[Any, Floats]:
        validation = _bin_columns(matrix, labels, split.validation, params, like=training)
        booster = _train(training, validation, _seeded(params, seed), config)
        return booster, booster.predict(tested, num_threads=params["num_threads"])

    with ThreadPoolExecutor(count_workers(len(config.seeds))) as pool:
        boosters, scores = zip(*pool.map(fit_seed, config.seeds), strict=True)
    return Fit(
        scores=np.stack(scores),
        best_iterations=tuple(int(booster.best_iteration) for booster in boosters),
        importance=_average_importance(boosters, matrix.columns),
        model=boosters[0].model_to_string(),
        seconds=time.perf_counter() - began,
    )


def _bin_columns(
    matrix: Matrix, labels: Codes, rows: Rows, params: Params, *, like: Any = None
) -> Any:
    """Return rows as a LightGBM Dataset, in the bins of ``like`` if given.

    Threads may share a constructed training Dataset, which LightGBM only reads;
    not a validation Dataset, which ``train`` writes feature names into.
    """
    import lightgbm as lgb

    return lgb.Dataset(
        matrix.values[rows],
        labels[rows],
        reference=like,
        feature_name=[_name_safely(name, at) for at, name in enumerate(matrix.columns)],
        categorical_feature=matrix.categorical,
        params=dict(params),
    )


def _train(training: Any, validation: Any, params: Params, config: EvalConfig) -> Any:
    import lightgbm as lgb

    return lgb.train(
        dict(params),
        training,
        num_boost_round=config.max_rounds,
        valid_sets=[validation],
        callbacks=[lgb.early_stopping(config.early_stopping_rounds, verbose=False)],
    )


def _seeded(params: Params, seed: int) -> Params:
    """Seed what draws while training; how columns were binned stays the same."""
    return {**params, "bagging_seed": seed, "feature_fraction_seed": seed, "extra_seed": seed}


def _average_importance(boosters: tuple[Any, ...], columns: tuple[str, ...]) -> dict[str, float]:
    gains = np.sum([booster.feature_importance("gain") for booster in boosters], axis=0)
    shares = gains / gains.sum() if gains.any() else gains
    return dict(zip(columns, shares.tolist(), strict=True))


def _name_safely(name: str, place: int) -> str:
    """Return a name that LightGBM accepts: it refuses JSON's special characters."""
    return name if re.fullmatch(r"\w+", name, re.ASCII) else f"column_{place}"


def count_workers(fits: int) -> int:
    """Return how many fits to run side by side: one a core that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(fits, allowed or 1))
