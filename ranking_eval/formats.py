"""How differences are written, in reports, tables and sentences alike."""

from __future__ import annotations

from typing import Final

from ranking_eval.inference import Lift

METRIC_NAMES: Final = {
    "auc": "AUC",
    "grouped_auc": "impression-weighted grouped AUC",
    "log_loss": "log loss (lower is better)",
    "normalized_entropy": "normalised entropy (lower is better)",
    "calibration_gap": "calibration gap (lower is better)",
}
"""Every reported metric in the words of the report; the calibration gap is the distance of
expected over observed positives from 1."""


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
