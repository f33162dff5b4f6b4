"""How differences are written, in reports, tables and sentences alike."""

from __future__ import annotations

from ranking_eval.inference import Lift


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
