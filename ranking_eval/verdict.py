"""The verdict in one sentence, and how differences are written."""

from __future__ import annotations

from ranking_eval.evaluation import Evaluation
from ranking_eval.inference import TOO_FEW_USERS, Lift


def is_credible(evaluation: Evaluation) -> bool:
    """Say whether the AUC is lifted beyond noise, and beyond what the placebo does.

    Without a placebo arm nothing is credible, nor with fewer than `TOO_FEW_USERS`
    effective users, nor is a lift that grouped AUC pays for: one that ranks users
    against each other, and each user's items worse.
    """
    over_placebo = evaluation.lift_over_placebo.get("auc")
    if over_placebo is None or has_too_few_users(evaluation) or is_grouped_auc_harmed(evaluation):
        return False
    return min(evaluation.lift["auc"].low, over_placebo.low) > 0


def has_too_few_users(evaluation: Evaluation) -> bool:
    """Say whether there are too few effective users for any verdict."""
    return evaluation.lift["auc"].effective_users < TOO_FEW_USERS


def is_grouped_auc_harmed(evaluation: Evaluation) -> bool:
    """Say whether the whole interval of the grouped AUC's difference lies below 0."""
    return evaluation.lift["grouped_auc"].high < 0


def compute_verdict(evaluation: Evaluation) -> str:
    """Return the verdict on the treatment's AUC with its interval and the placebo's."""
    lift, over_placebo = evaluation.lift["auc"], evaluation.lift_over_placebo.get("auc")
    if over_placebo is None:
        return f"no verdict without a placebo arm: {format_lift(lift)} AUC"
    if has_too_few_users(evaluation):
        return (
            f"no verdict from {lift.effective_users:.1f} effective users (at least "
            f"{TOO_FEW_USERS} are needed): {format_lift(lift)} AUC"
        )
    word = "credible lift of" if is_credible(evaluation) else "no credible lift:"
    verdict = f"{word} {format_lift(lift)} AUC"
    if lift.low <= 0 <= lift.high:
        verdict += f"; could have seen {format_delta(lift.detectable)}"
    verdict += f"; placebo {format_lift(evaluation.placebo['auc'])}"
    if lift.low > 0 >= over_placebo.low:
        verdict += f"; the placebo shares it: treatment - placebo {format_lift(over_placebo)}"
    if lift.low > 0 and is_grouped_auc_harmed(evaluation):
        verdict += f"; grouped AUC falls: {format_lift(evaluation.lift['grouped_auc'])}"
    return verdict


def format_lift(lift: Lift) -> str:
    """Write a difference and its interval: ``+.0026 [+.0016, +.0036]``."""
    return f"{format_delta(lift.delta)} [{format_delta(lift.low)}, {format_delta(lift.high)}]"


def format_delta(value: float) -> str:
    """Write a difference with its sign and four decimals.

    Examples
    --------
    >>> format_delta(0.0026), format_delta(-0.25), format_delta(1.5)
    ('+.0026', '-.2500', '+1.5000')
    """
    return f"{value:+.4f}".replace("+0.", "+.").replace("-0.", "-.")
