"""The verdict: one of four outcomes, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ranking_eval.control_arms import object_to_random
from ranking_eval.evaluation import Evaluation
from ranking_eval.formats import format_delta, format_lift
from ranking_eval.inference import TOO_FEW_USERS, Lift
from ranking_eval.slice_lifts import list_harmed

CALIBRATION_TOLERANCE: Final = 0.03
"""By how much the calibration gap may grow. Mean predictions of two arms differ by chance
of the training rows, which no interval by test user knows: by .029 +- .019 between two
honest arms trained on 2,600 rows (chosen here)."""


class Outcome(StrEnum):
    """What can be said of the treatment's AUC; the first that applies."""

    INVALID = "invalid"
    """A leak is suspected. (A leak that is proven raises `LeakageError` before any fit.)"""
    INCONCLUSIVE = "inconclusive"
    """The interval covers 0, and a lift worth having might not have been seen; or too
    few users, or no placebo."""
    NO_LIFT = "no lift"
    """Worse, or 0 where a lift worth having would have been seen, or one that the placebo or
    random vectors share, or that some rows or the probabilities pay for."""
    CREDIBLE = "credible lift"
    """Above 0 and above the placebo with whole intervals, and no part harmed."""


@dataclass(frozen=True)
class Verdict:
    """An outcome and the sentence that says why, with the figures."""

    outcome: Outcome
    sentence: str

    @property
    def is_credible(self) -> bool:
        """Whether the lift can be believed."""
        return self.outcome is Outcome.CREDIBLE


def compute_verdict(evaluation: Evaluation) -> Verdict:
    """Judge the treatment's AUC.

    A lift is credible where its interval (users and training noise) lies above 0, so
    does that of treatment less placebo (and less random vectors, where there is such an
    arm), grouped AUC, normalised entropy and calibration don't get worse with their whole
    intervals, and no slice is harmed after Holm.
    """
    lift, over_placebo = evaluation.lift["auc"], evaluation.lift_over_placebo.get("auc")
    figures = f"{format_lift(lift)} AUC"
    if evaluation.suspicions:
        return Verdict(Outcome.INVALID, f"suspected leak: {evaluation.suspicions[0]}; {figures}")
    if over_placebo is None:
        sentence = f"no verdict without a placebo arm: {figures}"
        return Verdict(Outcome.INCONCLUSIVE, sentence)
    fewest = min(lift.effective_users, evaluation.effective_of_rarer)
    if fewest < TOO_FEW_USERS:
        sentence = (
            f"no verdict from {fewest:.1f} effective users of the rarer label (at least "
            f"{TOO_FEW_USERS} are needed): {figures}"
        )
        return Verdict(Outcome.INCONCLUSIVE, sentence)
    placebo = f"placebo {format_lift(evaluation.placebo['auc'])}"
    if lift.low <= 0:
        could = f"could have seen {format_delta(lift.detectable)}"
        is_blind = lift.high > 0 and lift.detectable > evaluation.target_lift
        outcome = Outcome.INCONCLUSIVE if is_blind else Outcome.NO_LIFT
        return Verdict(outcome, f"no credible lift: {figures}; {could}; {placebo}")
    objections = _object(evaluation, over_placebo)
    if objections:
        words = "; ".join([f"no credible lift: {figures}", placebo, *objections])
        return Verdict(Outcome.NO_LIFT, words)
    return Verdict(Outcome.CREDIBLE, f"credible lift of {figures}; {placebo}")


def _object(evaluation: Evaluation, over_placebo: Lift) -> list[str]:
    """Say what speaks against a lift whose interval lies above 0."""
    found = []
    if over_placebo.low <= 0:
        found.append(f"the placebo shares it: treatment - placebo {format_lift(over_placebo)}")
    found += object_to_random(evaluation.control_arms)
    lift = evaluation.lift
    if lift["grouped_auc"].high < 0:
        found.append(f"grouped AUC falls: {format_lift(lift['grouped_auc'])}")
    if lift["normalized_entropy"].low > 0:
        found.append(f"normalised entropy rises: {format_lift(lift['normalized_entropy'])}")
    if lift["calibration_gap"].low > CALIBRATION_TOLERANCE:
        found.append(f"calibration gets worse: {format_lift(lift['calibration_gap'])}")
    harmed = list_harmed(evaluation.slices)
    if harmed:
        found.append(f"harms {', '.join(harmed)}")
    return found
