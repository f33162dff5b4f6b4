"""The judge's own ranker: LightGBM, the same parameters, rows and seeds for every arm.

Bagging is the only thing that a seed changes: with ``feature_fraction`` below 1
a column more changes the lottery of columns in every tree, and fits differ more
by their seed. Each fit runs on one thread and fits run side by side, which is
faster than threads within a fit and gives the same bits on any machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.rankers.protocol import Fit, RankerRows, count_workers
from ranking_eval.split import Rows
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


LISTWISE: Final = ("lambdarank", "rank_xendcg")
"""Objectives that learn from the order within a request, and stop by NDCG."""


def fit_lightgbm(rows: RankerRows, config: EvalConfig) -> Fit:
    """Fit one ranker a seed, stopped early on the validation rows.

    Parameters
    ----------
    rows : features, labels, requests and split.
    config : seeds, rounds, and parameters that win over `DEFAULTS`;
        ``objective: lambdarank`` learns from the order within each request.

    Notes
    -----
    Columns are binned once and the bins shared by all seeds. Scores of a listwise
    objective are no probabilities: a logistic curve through the validation rows makes
    them such, which changes no order.
    """
    began = time.perf_counter()
    params = {**DEFAULTS, **config.params}
    is_listwise = params["objective"] in LISTWISE
    if is_listwise:
        params = {**DEFAULTS, "metric": "ndcg", **config.params}
        rows = _sort_by_request(rows)
    matrix, labels, split = rows.matrix, rows.labels, rows.split
    training = _bin_columns(rows, split.train, params).construct()
    tested = matrix.values[split.test]

    def fit_seed(seed: int) -> tuple[Any, Floats]:
        validation = _bin_columns(rows, split.validation, params, like=training)
        booster = _train(training, validation, _seeded(params, seed), config)
        scores = booster.predict(tested, num_threads=params["num_threads"])
        if is_listwise:
            seen = booster.predict(matrix.values[split.validation], num_threads=1)
            scores = _calibrate(seen, labels[split.validation], scores)
        return booster, scores

    with ThreadPoolExecutor(count_workers(len(config.seeds))) as pool:
        boosters, scores = zip(*pool.map(fit_seed, config.seeds), strict=True)
    return Fit(
        scores=np.stack(scores),
        best_iterations=tuple(int(booster.best_iteration) for booster in boosters),
        importance=_average_importance(boosters, matrix.columns),
        model=boosters[0].model_to_string(),
        seconds=time.perf_counter() - began,
    )


def _sort_by_request(rows: RankerRows) -> RankerRows:
    """Return the rows with those of a request side by side in training and validation."""
    train, validation = (
        part[np.argsort(rows.requests[part], kind="stable")]
        for part in (rows.split.train, rows.split.validation)
    )
    return rows._replace(split=replace(rows.split, train=train, validation=validation))


def _calibrate(scores: Floats, labels: Codes, wanted: Floats) -> Floats:
    """Return probabilities for ``wanted`` by a logistic curve through scores and labels."""
    from sklearn.linear_model import LogisticRegression

    curve = LogisticRegression(C=1e6).fit(scores[:, None], labels)
    return np.asarray(curve.predict_proba(wanted[:, None])[:, 1])


def _bin_columns(rows: RankerRows, part: Rows, params: Params, *, like: Any = None) -> Any:
    """Return rows as a LightGBM Dataset, in the bins of ``like`` if given.

    Threads may share a constructed training Dataset, which LightGBM only reads;
    not a validation Dataset, which ``train`` writes feature names into.
    """
    import lightgbm as lgb

    matrix, group = rows.matrix, None
    if params["objective"] in LISTWISE:
        group = np.unique(rows.requests[part], return_counts=True)[1]
    return lgb.Dataset(
        matrix.values[part],
        rows.labels[part],
        reference=like,
        group=group,
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
