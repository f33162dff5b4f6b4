"""Arms whose features were made to say less: of random vectors, and of shorter histories.

Their features come from outside, as the item-permuted placebo's do: the judge knows
columns only. Random vectors keep an item's identity and lose its content: what they lift,
the treatment owes to ids. A history cut an hour earlier keeps an honest lift nearly
whole, and loses one that was made of the answer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ranking_eval.experiment import Experiment
from ranking_eval.formats import format_lift
from ranking_eval.inference import Lift, Lifts

Role = Literal["random", "lagged"]

LOST_SHARE: Final = 0.5
"""The share of a lift that no honest history owes to its last hour (chosen here)."""


@dataclass(frozen=True)
class ControlArm:
    """What such an arm does: itself less control, and treatment less itself, by metric."""

    lift: Lifts
    treatment_over: Lifts


ControlArms = Mapping[Role, ControlArm]


def compare_control_arms(
    experiment: Experiment, compare: Callable[[str, str], Lifts]
) -> ControlArms:
    """Return the control arms that the experiment has.

    Parameters
    ----------
    compare : returns the first of two arms less the second.
    """
    arms: dict[Role, str | None] = {"random": experiment.random, "lagged": experiment.lagged}
    return {
        role: ControlArm(compare(arm, experiment.control), compare(experiment.treatment, arm))
        for role, arm in arms.items()
        if arm is not None
    }


def suspect_lost_lift(lift: Lift, arms: ControlArms) -> tuple[str, ...]:
    """Say where a lift vanishes when histories end earlier, which looks like a leak.

    It does where the loss lies, with its whole interval, above `LOST_SHARE` of the lift.
    """
    if "lagged" not in arms or lift.low <= 0:
        return ()
    lost, left = arms["lagged"].treatment_over["auc"], arms["lagged"].lift["auc"]
    if lost.low <= LOST_SHARE * lift.delta:
        return ()
    return (
        f"the lift vanishes when histories are cut earlier: {format_lift(left)} AUC is left, "
        f"{format_lift(lost)} lost",
    )


def object_to_random(arms: ControlArms) -> list[str]:
    """Say where random vectors share the lift."""
    if "random" not in arms or arms["random"].treatment_over["auc"].low > 0:
        return []
    over = format_lift(arms["random"].treatment_over["auc"])
    return [f"random vectors share it: treatment - random {over}"]
