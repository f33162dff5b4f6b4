"""What a skew check found: as a verdict, a table, JSON, and a page that needs no network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table
from rich.text import Text

from sail_features.skew.compare import FeatureSkew

TEMPLATE: Final = "report.html.jinja"
HEADINGS: Final = ("feature", "differ", "at most by", "drift", "by chance", "cause")


@dataclass(frozen=True)
class Limits:
    """What is let pass: a share of differing rows, and an index of drift."""

    mismatch_share: float = 0.01
    drift: float = 0.25


@dataclass(frozen=True)
class SkewReport:
    """The features of a log against those of a service, recomputed.

    ``not_compared`` are columns of the log that the service has no feature for.
    """

    service: str
    log: str
    first: str
    last: str
    logged_rows: int
    rows: int
    reference_rows: int
    relative_tolerance: float
    limits: Limits
    features: tuple[FeatureSkew, ...]
    not_compared: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def skewed(self) -> tuple[FeatureSkew, ...]:
        """Features of which more rows differ than the limit lets pass."""
        return tuple(f for f in self.features if f.share > self.limits.mismatch_share)

    @property
    def drifted(self) -> tuple[FeatureSkew, ...]:
        """Features whose drift is beyond the limit, and beyond chance."""
        return tuple(
            feature
            for feature in self.features
            if feature.drift is not None
            and feature.drift.index > max(self.limits.drift, feature.drift.noise)
        )

    @property
    def passed(self) -> bool:
        """Whether every feature is within the limits."""
        return not self.skewed and not self.drifted

    @property
    def verdict(self) -> str:
        """One sentence on what was found."""
        found = []
        if self.skewed:
            found.append(f"skewed: {_names(self.skewed)}")
        if self.drifted:
            found.append(f"drifted: {_names(self.drifted)}")
        return "; ".join(found) or (
            f"no skew in {len(self.features)} features of {self.rows:,} rows "
            f"beyond {self.limits.mismatch_share:.2%}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        found = {**asdict(self), "verdict": self.verdict, "passed": self.passed}
        for written, feature in zip(found["features"], self.features, strict=True):
            written |= {"share": feature.share, "cause": feature.cause}
        plain: dict[str, Any] = _plain(found)
        return plain

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``skew.json`` and ``skew.html`` into ``folder``, and return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        data, page = folder / "skew.json", folder / "skew.html"
        data.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
        )
        text = environment.get_template(TEMPLATE).render(
            report=self, headings=HEADINGS, rows=[(f, format_row(f)) for f in _worst(self.features)]
        )
        page.write_text(text, encoding="utf-8")
        return data, page

    def table(self) -> Table:
        """Return the features, the worst first, those without any finding summed in a line."""
        table = Table(title=Text(f"{self.service} against {self.log}"), title_justify="left")
        for heading in HEADINGS:
            text = heading in (HEADINGS[0], HEADINGS[-1])
            table.add_column(heading, overflow="fold", justify="left" if text else "right")
        bad = {f.name for f in (*self.skewed, *self.drifted)}
        shown = [f for f in _worst(self.features) if f.mismatches or f.name in bad]
        for feature in shown:
            style = "red" if feature.name in bad else None
            table.add_row(*(Text(cell) for cell in format_row(feature)), style=style)
        agreed = len(self.features) - len(shown)
        if agreed:
            table.add_row(Text(f"{agreed} other features"), "0 %", *[""] * (len(HEADINGS) - 2))
        return table


def format_row(feature: FeatureSkew) -> tuple[str, ...]:
    """Return one feature's cells, in the order of the headings."""
    drift = feature.drift
    return (
        feature.name,
        f"{feature.share:.3%}" if feature.mismatches else "0 %",
        "" if not feature.largest_difference else f"{feature.largest_difference:.3g}",
        "" if drift is None else f"{drift.index:.3f}",
        "" if drift is None else f"{drift.noise:.3f}",
        feature.cause,
    )


def _worst(features: Iterable[FeatureSkew]) -> list[FeatureSkew]:
    """Return the features by their share of differing rows, then by drift, falling."""
    return sorted(features, key=lambda f: (-f.share, -(f.drift.index if f.drift else 0.0)))


def _names(features: Sequence[FeatureSkew]) -> str:
    shown = ", ".join(feature.name for feature in features[:5])
    return shown + (f" and {len(features) - 5} more" if len(features) > 5 else "")


def _plain(value: Any) -> Any:
    """Return what JSON knows: numbers that aren't finite become text, as do times and bytes."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)
