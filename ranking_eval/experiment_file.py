"""``experiment.yaml``: an experiment as data, on a Parquet file or through Feast.

::

    name: contrast alone
    frame: joined.parquet          # a row an impression, with the columns of all arms
    arms:
      control: {columns: [price, user_*]}
      treatment: {add: [contrast_*]}          # control's columns and these
      placebo: {add: [permuted_contrast_*]}
      random: {add: [random_contrast_*]}      # may be left out, and so may lagged:
      lagged: {add: [hour_ago_contrast_*]}    # histories that end an hour earlier
    artefacts: [{name: encoder, trained_until: 2024-03-01T00:00:00Z}]
    groups: {mean: [contrast_mean], maximum: [contrast_max]}   # what is each worth?
    costs: {mean: {online_ms: 0.4, encode_s_per_1k_items: 3.1}}  # ... and what does it cost?
    eval: {seeds: [0, 1, 2], slices: [category, item_earlier_rows]}

With ``repo: feature_repo`` and ``impressions: shown.parquet`` in place of ``frame``, an arm is
``{service: ranker_control}``, and its features are joined as of ``lag_s`` seconds before each row.
Paths are relative to the file. A column may be a pattern with ``*`` and ``?``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
from pydantic import Field, model_validator

from ranking_eval.experiment import NOT_FEATURES, Arm, Experiment
from ranking_eval.spec_file import (
    ArtefactSpec,
    CostSpec,
    FilePart,
    load_spec,
    match_columns,
    read_rows,
)
from sail_features.config import EvalConfig

ROLES: Final = ("control", "treatment", "placebo", "random", "lagged")


class ArmSpec(FilePart):
    """One of: all its columns, what it adds to control's, or a Feast service."""

    columns: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    service: str | None = None

    @model_validator(mode="after")
    def _say_one_thing(self) -> Self:
        if sum(map(bool, (self.columns, self.add, self.service))) != 1:
            raise ValueError("give one of columns, add and service")
        return self


class ExperimentSpec(FilePart):
    """The whole file."""

    name: str
    frame: Path | None = None
    repo: Path | None = None
    impressions: Path | None = None
    lag_s: float = Field(default=0.0, ge=0)
    arms: dict[str, ArmSpec]
    artefacts: tuple[ArtefactSpec, ...] = ()
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    costs: dict[str, CostSpec] = Field(default_factory=dict)
    eval: EvalConfig = EvalConfig()
    output: Path = Path("evaluation")
    """Folder of ``report.html``, ``report.md`` and ``summary.json``."""
    tracking_uri: str | None = None
    """Of MLflow; null logs nowhere."""

    @model_validator(mode="after")
    def _know_where_rows_come_from(self) -> Self:
        through_feast = self.repo is not None and self.impressions is not None
        if (self.frame is None) != through_feast:
            raise ValueError("give frame, or repo and impressions")
        wanted = [role for role in ROLES[:2] if role not in self.arms]
        if wanted or set(self.arms) - set(ROLES):
            raise ValueError(f"arms must be {', '.join(ROLES)} (the last three may be left out)")
        by_service = {name for name, arm in self.arms.items() if arm.service}
        if by_service and (not through_feast or by_service != set(self.arms)):
            raise ValueError("arms are services where repo is given, and columns where frame is")
        if through_feast and not by_service:
            raise ValueError("arms are services where repo is given, and columns where frame is")
        if self.arms["control"].add:
            raise ValueError("control has nothing to add to: give its columns")
        return self


def load_experiment(path: Path) -> ExperimentSpec:
    """Read and validate a file; its paths become absolute.

    Raises
    ------
    ConfigError
        No such file, invalid YAML, an unknown key or a value out of range.
    """
    return load_spec(path, ExperimentSpec)


def load_rows_and_arms(
    spec: ExperimentSpec, open_store: Callable[[Path], Any]
) -> tuple[pa.Table, Experiment]:
    """Return the rows with every arm's columns, and the experiment.

    Parameters
    ----------
    open_store : returns the Feast store of a repository's folder.

    Raises
    ------
    InputError
        The Parquet file can't be read.
    EvaluationError
        A pattern that finds no column, arms that can't be compared, a join that lost rows.
    """
    if spec.repo is not None and spec.impressions is not None:
        from ranking_eval.retrieval import retrieve

        services = {name: arm.service or "" for name, arm in _in_order(spec)}
        shown, lag = read_rows(spec.impressions), timedelta(seconds=spec.lag_s)
        rows, arms = retrieve(open_store(spec.repo), shown, services, lag=lag)
    else:
        rows = read_rows(spec.frame or Path())
        arms = _choose_arms(spec, rows.column_names)
    artefacts = tuple(one.artefact() for one in spec.artefacts)
    placebo, random, lagged = (role if role in spec.arms else None for role in ROLES[2:])
    experiment = Experiment(
        spec.name,
        arms,
        spec.eval,
        placebo=placebo,
        artefacts=artefacts,
        random=random,
        lagged=lagged,
    )
    return rows, experiment


def choose_groups(spec: ExperimentSpec, experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Return the columns of each group among those that the treatment adds."""
    added = experiment.added_columns
    return {name: match_columns(patterns, added, name) for name, patterns in spec.groups.items()}


def _choose_arms(spec: ExperimentSpec, names: list[str]) -> tuple[Arm, ...]:
    features = [name for name in names if name not in NOT_FEATURES]
    base = match_columns(spec.arms["control"].columns, features, "control")
    arms = [Arm("control", base)]
    for name, arm in _in_order(spec)[1:]:
        chosen = match_columns(arm.columns or arm.add, features, name)
        kept = base if arm.add else ()
        arms.append(Arm(name, (*kept, *(column for column in chosen if column not in kept))))
    return tuple(arms)


def _in_order(spec: ExperimentSpec) -> list[tuple[str, ArmSpec]]:
    return [(role, spec.arms[role]) for role in ROLES if role in spec.arms]
