"""Experiments whose outcome is known: what they show is what the harness adds by itself.

Each must show nothing. One that does says that rows, split or features are not what
they seem, and then no lift can be believed. The item-permuted placebo, which needs
features of its own, is an arm of the experiment.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ranking_eval.folds import fit_folds
from ranking_eval.inference import (
    ArmInfluence,
    InfluenceMatrix,
    Lift,
    compute_lift,
    compute_p_value,
)
from ranking_eval.matrix import Matrix
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.rankers import RankerRows, count_workers
from ranking_eval.trials import Setting, build_arm_matrix, fit_arm, measure, rows_for

ALARM: Final = 0.001
"""A control above 0 with a smaller p-value than this makes the verdict invalid."""
ALARM_OF_SEEDS: Final = 0.01
"""The same where seeds are the sample: with two or three, no p-value falls below `ALARM`."""
CHANCE: Final = 0.5
OTHER_SEEDS: Final = "A/A: control with other seeds"
SHUFFLED: Final = "treatment's columns shuffled among rows"
PERMUTED: Final = "treatment trained on permuted labels, against chance"


@dataclass(frozen=True)
class ControlLift:
    """The AUC that a control adds where there is nothing to add."""

    name: str
    lift: Lift
    seeds: int | None = None
    """How many fits it is a sample of, where they differ more by their seed than by users:
    a ranker of permuted labels ranks by chance, anew in each fit."""

    @property
    def is_alarming(self) -> bool:
        """Whether it adds something beyond any doubt; a single seed leaves doubt."""
        lift = self.lift
        if self.seeds is None:
            return lift.delta > 0 and lift.p_value < ALARM
        if self.seeds == 1:
            return False
        p_value = compute_p_value(lift.delta, lift.standard_error, self.seeds - 1)
        return lift.delta > 0 and p_value < ALARM_OF_SEEDS


def run_controls(
    setting: Setting, control: Floats, progress: Callable[[str], None] | None = None
) -> tuple[ControlLift, ...]:
    """Fit the three controls that every experiment can have.

    Parameters
    ----------
    setting : rows, split and experiment, as for the arms.
    control : scores of the control arm, shape (seeds, test rows).

    Notes
    -----
    A/A: control against itself with other seeds; the difference is training noise.
    Shuffled: what the treatment adds, dealt to other rows of the same part, so that
    it has the same distribution and says nothing. Permuted: treatment trained on
    labels of other rows, whose AUC must be .5. Both are dealt anew for each seed.
    Time: three arms.
    """
    experiment, config = setting.experiment, setting.experiment.eval
    seeds = len(config.seeds)
    others = tuple(range(max(config.seeds) + 1, max(config.seeds) + 1 + seeds))

    def say(name: str) -> None:
        if progress:
            progress(f"control: {name}")

    say(OTHER_SEEDS)
    again = fit_arm(
        setting, experiment.arm(experiment.control), config.model_copy(update={"seeds": others})
    ).fit.scores
    matrix = build_arm_matrix(setting, experiment.arm(experiment.treatment))
    say(SHUFFLED)
    shuffled = _fit_shuffled(setting, matrix)
    say(PERMUTED)
    permuted = _fit_permuted(setting, matrix)
    judged = measure(
        setting, {"control": control, "again": again, "shuffled": shuffled, "permuted": permuted}
    )
    return (
        ControlLift(OTHER_SEEDS, judged.compare("auc", "again", "control")),
        ControlLift(SHUFFLED, judged.compare("auc", "shuffled", "control")),
        ControlLift(PERMUTED, _against_chance(judged, "permuted"), seeds),
    )


def _fit_shuffled(setting: Setting, matrix: Matrix) -> Floats:
    """Return scores of the treatment with what it adds dealt to other rows of the same part."""
    added = np.flatnonzero(np.isin(matrix.columns, setting.experiment.added_columns))

    def shuffle(seed: int) -> RankerRows:
        values = matrix.values.copy()
        for rows, dealt in _deal(setting, seed):
            values[np.ix_(rows, added)] = matrix.values[np.ix_(dealt, added)]
        return rows_for(setting, replace(matrix, values=values))

    return _fit_each_seed(setting, shuffle)


def _fit_permuted(setting: Setting, matrix: Matrix) -> Floats:
    """Return scores of the treatment trained and stopped on labels of other rows."""

    def permute(seed: int) -> RankerRows:
        labels = setting.labels.copy()
        for rows, dealt in _deal(setting, seed):
            labels[rows] = setting.labels[dealt]
        return rows_for(setting, matrix)._replace(labels=labels)

    return _fit_each_seed(setting, permute)


def _deal(setting: Setting, seed: int) -> list[tuple[Codes, Codes]]:
    """Return the rows of each part, and the rows of it that each gets something from."""
    draw, split = np.random.default_rng(seed), setting.split
    return [(rows, draw.permutation(rows)) for rows in (split.train, split.validation, split.test)]


def _fit_each_seed(setting: Setting, make: Callable[[int], RankerRows]) -> Floats:
    """Fit every seed on rows of its own: chance must differ between fits to be seen as such."""
    config = setting.experiment.eval

    def fit(seed: int) -> Floats:
        alone = config.model_copy(update={"seeds": (seed,)})
        return fit_folds(make(seed), setting.folds, alone).scores

    with ThreadPoolExecutor(count_workers(len(config.seeds))) as pool:
        return np.concatenate(list(pool.map(fit, config.seeds)))


def _against_chance(judged: InfluenceMatrix, arm: str) -> Lift:
    found = judged.of_arm("auc", arm)
    chance = ArmInfluence(np.full_like(found.values, CHANCE), np.zeros_like(found.influence))
    return compute_lift("auc", found, chance, judged.rows_of("auc"))
