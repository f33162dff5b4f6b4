"""What each group of the treatment's columns is worth: left out, and added alone.

A group can be worth little when left out, since others say the same, and much alone; or
the reverse, where it needs the others. Importance by gain tells neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ranking_eval.experiment import Arm, Experiment
from ranking_eval.inference import Lift, adjust_p_values, build_influence_matrix
from ranking_eval.metrics.arrays import Floats
from ranking_eval.trials import Setting, fit_arm
from sail_features.errors import EvaluationError

Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class GroupValue:
    """A group of columns: the AUC lost without it, and gained by it alone.

    ``left_out`` is treatment less treatment without the group, ``alone`` is control
    with the group less control. ``adjusted_left_out`` and ``adjusted_alone`` are their
    p-values after Holm over both looks at all groups.
    """

    group: str
    columns: tuple[str, ...]
    left_out: Lift
    alone: Lift
    adjusted_left_out: float = 1.0
    adjusted_alone: float = 1.0


def check_groups(experiment: Experiment, groups: Groups) -> None:
    """Refuse groups that aren't made of the treatment's own columns.

    Raises
    ------
    EvaluationError
        A group is empty, names a column that the treatment lacks or control has, or
        holds all that the treatment adds.
    """
    added = experiment.added_columns
    for group, columns in groups.items():
        unknown = [name for name in columns if name not in added]
        if unknown or not columns:
            problem = f"{', '.join(unknown)}: not added by the treatment" if unknown else "empty"
            raise EvaluationError.bad_arms(f"group {group!r}", problem)
        if len(set(columns)) == len(added):
            raise EvaluationError.bad_arms(f"group {group!r}", "it is all that the treatment adds")


def ablate(
    setting: Setting,
    groups: Groups,
    treatment: Floats,
    control: Floats,
    progress: Callable[[str], None] | None = None,
) -> tuple[GroupValue, ...]:
    """Fit treatment without each group and control with it, and compare AUCs.

    Parameters
    ----------
    setting : rows, split and experiment, as for the arms.
    groups : columns that the treatment adds, by the group's name; they may overlap.
    treatment, control : scores of the two arms, shape (seeds, test rows).

    Notes
    -----
    Time: two arms a group. Rows, split, parameters and seeds are those of the arms.
    """
    experiment = setting.experiment
    with_all, base = experiment.arm(experiment.treatment), experiment.arm(experiment.control)
    values = []
    for group, columns in groups.items():
        if progress:
            progress(f"ablation: without {group}, and {group} alone")
        rest = tuple(name for name in with_all.columns if name not in columns)
        without = _score(setting, Arm(with_all.name, rest))
        alone = _score(setting, Arm(with_all.name, (*base.columns, *columns)))
        left_out = _compare(setting, treatment, without)
        gained = _compare(setting, alone, control)
        values.append(GroupValue(group, tuple(columns), left_out, gained))
    looks = [lift.p_value for value in values for lift in (value.left_out, value.alone)]
    adjusted = iter(adjust_p_values(looks).tolist())
    return tuple(
        replace(value, adjusted_left_out=next(adjusted), adjusted_alone=next(adjusted))
        for value in values
    )


def _score(setting: Setting, arm: Arm) -> Floats:
    """Return the scores of an arm on the treatment's own rows."""
    return fit_arm(setting, arm, setting.experiment.eval).fit.scores


def _compare(setting: Setting, ours: Floats, theirs: Floats) -> Lift:
    matrix = build_influence_matrix(setting.judged, {"ours": ours, "theirs": theirs}, ["auc"])
    return matrix.compare("auc", "ours", "theirs")
