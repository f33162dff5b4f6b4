"""What is compared with what: arms, and the rules that hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sail_features import columns as c
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

NOT_FEATURES: Final = frozenset((c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL))
"""A ranker that sees one of these learns rows by heart, or the answer."""


@dataclass(frozen=True)
class Arm:
    """One candidate ranker: the columns that it sees.

    ``service`` names the Feast FeatureService that they come from, if any.
    """

    name: str
    columns: tuple[str, ...]
    service: str | None = None

    def __post_init__(self) -> None:
        """Check that there are columns, each once, and none that tells the answer."""
        where = f"arm {self.name!r}"
        if not self.columns:
            raise EvaluationError.bad_arms(where, "it has no columns")
        if len(set(self.columns)) < len(self.columns):
            raise EvaluationError.bad_arms(where, "it names a column twice")
        forbidden = sorted(NOT_FEATURES.intersection(self.columns))
        if forbidden:
            raise EvaluationError.bad_arms(where, f"{', '.join(forbidden)} can't be a feature")


@dataclass(frozen=True)
class Artefact:
    """Something fitted to interactions before ``trained_until`` (exclusive)."""

    name: str
    trained_until: datetime

    def __post_init__(self) -> None:
        """Check that the time has a zone."""
        if self.trained_until.tzinfo is None:
            raise EvaluationError.bad_arms(
                f"artefact {self.name!r}", "trained_until has no time zone"
            )


@dataclass(frozen=True)
class Experiment:
    """A comparison of arms on the same rows, split, parameters and seeds.

    ``placebo`` names the arm with the treatment's columns made of permuted
    vectors; None goes without, and then no lift is called credible. ``random`` names
    the one of random vectors, ``lagged`` the one whose histories end earlier; both may
    be left out (`ranking_eval.control_arms`).
    """

    name: str
    arms: tuple[Arm, ...]
    eval: EvalConfig = field(default_factory=EvalConfig)
    control: str = "control"
    treatment: str = "treatment"
    placebo: str | None = "placebo"
    artefacts: tuple[Artefact, ...] = ()
    random: str | None = None
    lagged: str | None = None

    def __post_init__(self) -> None:
        """Check that the named arms exist, are different, and that control comes first."""
        names = [arm.name for arm in self.arms]
        where = f"experiment {self.name!r}"
        if len(set(names)) < len(names):
            raise EvaluationError.bad_arms(where, "two arms have the same name")
        every = (self.control, self.treatment, self.placebo, self.random, self.lagged)
        roles = [role for role in every if role is not None]
        missing = [role for role in roles if role not in names]
        if missing:
            raise EvaluationError.bad_arms(
                where, f"no arm named {', '.join(missing)}; it has {', '.join(names)}"
            )
        if len(set(roles)) < len(roles):
            raise EvaluationError.bad_arms(where, "one arm can't have two roles")
        if not self.eval.seeds:
            raise EvaluationError.bad_arms(where, "it has no seeds")
        if names[0] != self.control:
            raise EvaluationError.bad_arms(where, f"the first arm must be {self.control!r}")

    def arm(self, name: str) -> Arm:
        """Return the arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def added_columns(self) -> tuple[str, ...]:
        """What the treatment has and control hasn't, in the treatment's order."""
        known = set(self.arm(self.control).columns)
        return tuple(name for name in self.arm(self.treatment).columns if name not in known)

    def ordered_columns(self, arm: Arm) -> tuple[str, ...]:
        """Return an arm's columns, those of control first and in control's order.

        A tree's splits depend on the order of columns, so what two arms share
        must stand in the same places.
        """
        shared = [name for name in self.arms[0].columns if name in arm.columns]
        return (*shared, *(name for name in arm.columns if name not in shared))
