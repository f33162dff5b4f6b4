"""What a reader must know beside the figures: what was left out, cut short, or too little."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ranking_eval.inference import FEW_USERS, Lifts
from ranking_eval.metrics import compute_grouped_auc
from ranking_eval.trials import Setting, Trial


def list_notes(setting: Setting, trials: Mapping[str, Trial]) -> list[str]:
    """Say what was left out, set missing or cut short."""
    config = setting.experiment.eval
    tested = setting.judged
    by_user = compute_grouped_auc(tested.positive, np.zeros(tested.positive.size), tested.users)
    notes = [
        f"grouped AUC (impression-weighted, by user) leaves out {by_user.one_class} of "
        f"{by_user.groups + by_user.one_class} test users, whose labels are all the same"
    ]
    if len(config.seeds) == 1:
        notes.append("one seed: the intervals hold no training noise")
    for name, trial in trials.items():
        if max(trial.fit.best_iterations) == config.max_rounds:
            notes.append(f"arm {name} was still improving after {config.max_rounds} rounds")
        if trial.tuned:
            found = ", ".join(f"{key} {_show(value)}" for key, value in trial.tuned.items())
            notes.append(f"arm {name} was tuned in {config.tuning_trials} trials: {found}")
        notes += [
            f"arm {name}: {count} rows have a value of {column!r} not seen in training; "
            "taken as missing"
            for column, count in trial.unseen.items()
            if count
        ]
    return notes


def warn_of_few_users(lift: Lifts, rarer: float) -> str | None:
    """Return the warning that belongs above every figure, if any.

    Parameters
    ----------
    lift : of the treatment.
    rarer : effective users of the rarer label.
    """
    fewest = min(rarer, *(found.effective_users for found in lift.values()))
    if fewest >= FEW_USERS:
        return None
    return (
        f"Few effective users: the test rows, or those of one label, are worth {fewest:.1f} users "
        f"of equal weight (fewer than {FEW_USERS}). Read every interval with caution."
    )


def _show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
