"""The verdict: one of four outcomes, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ranking_eval.evaluation import Evaluation
from ranking_eval.formats import format_delta, format_lift
from ranking_eval.inference import TOO_FEW_USERS, Lift
from ranking_eval.slice_lifts import list_harmed


class Outcome(StrEnum):
    """What can be said of the treatment's AUC; the first that applies."""

    INVALID = "invalid"
    """A leak is suspected. (A leak that is proven raises `LeakageError` before any fit.)"""
    INCONCLUSIVE = "inconclusive"
    """The interval covers 0, and a lift worth having might not have been seen; or too
    few users, or no placebo."""
    NO_LIFT = "no lift"
    """Worse, or 0 where a lift worth having would have been seen, or one that the placebo
    shares, or that some rows pay for."""
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
    does that of treatment less placebo, grouped AUC and log loss don't get worse with
    their whole intervals, and no slice is harmed after Holm.
    """
    lift, over_placebo = evaluation.lift["auc"], evaluation.lift_over_placebo.get("auc")
    figures = f"{format_lift(lift)} AUC"
    if evaluation.suspicions:
        return Verdict(Outcome.INVALID, f"suspected leak: {evaluation.suspicions[0]}; {figures}")
    if over_placebo is None:
        sentence = f"no verdict without a placebo arm: {figures}"
        return Verdict(Outcome.INCONCLUSIVE, sentence)
    if lift.effective_users < TOO_FEW_USERS:
        sentence = (
            f"no verdict from {lift.effective_users:.1f} effective users (at least "
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
    grouped, log_loss = evaluation.lift["grouped_auc"], evaluation.lift["log_loss"]
    if grouped.high < 0:
        found.append(f"grouped AUC falls: {format_lift(grouped)}")
    if log_loss.low > 0:
        found.append(f"log loss rises: {format_lift(log_loss)}")
    harmed = list_harmed(evaluation.slices)
    if harmed:
        found.append(f"harms {', '.join(harmed)}")
    return found
