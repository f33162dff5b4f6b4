"""Equal-budget tuning: every arm gets the same trials in the same space.

A treatment that was tuned against a control that was not has a lift made of tuning.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ranking_eval.metrics import compute_log_loss
from ranking_eval.rankers import RankerRows, fit_ranker
from sail_features.config import EvalConfig
from sail_features.errors import ConfigError

SEED: Final = 0
"""Of the search and of the fits in it, whatever the experiment's seeds."""
START: Final = {
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "learning_rate": 0.05,
    "lambda_l2": 0.001,
    "bagging_fraction": 0.8,
}
"""The judge's own settings: tuning never ends below them on what it looks at."""


def tune(rows: RankerRows, config: EvalConfig) -> dict[str, Any]:
    """Return LightGBM parameters found in ``config.tuning_trials`` trials.

    Parameters
    ----------
    rows : training rows are learned from; the first half of the validation rows, by
        time, stops each fit, and the second half scores it by log loss. Test rows are
        never looked at.
    config : its own ``params`` are kept where the space has them, too.

    Returns
    -------
    The parameters of the best trial; the first trial is LightGBM as it is.

    Raises
    ------
    ConfigError
        Optuna isn't installed.

    References
    ----------
    Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework",
    KDD 2019; its tree-structured Parzen estimator with a fixed seed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError.say(
            "eval.tuning_trials",
            "Optuna is not installed",
            hint="pip install sail-features[tuning]",
        ) from None
    early, late = np.array_split(rows.split.validation, 2)
    held_back = rows._replace(split=replace(rows.split, validation=early, test=late))
    labels = rows.labels[late]

    def loss_of(trial: Any) -> float:
        params = {**_suggest(trial), **config.params}
        once = config.model_copy(update={"seeds": (SEED,), "params": params})
        return float(compute_log_loss(labels, fit_ranker(held_back, once).scores[0]))

    logging.getLogger("optuna").setLevel(logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=SEED))
    study.enqueue_trial(START)
    study.optimize(loss_of, n_trials=config.tuning_trials)
    return {**study.best_params, **config.params}


def _suggest(trial: Any) -> dict[str, Any]:
    return {
        "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 500, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.001, 100.0, log=True),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
    }
