"""A study as data: an ``experiment.yaml`` that has ``subsets`` in place of arms.

::

    name: what the title says, and the description
    frame: joined.parquet                     # a row an impression, all columns
    control: [price, user_*]
    subsets:
      none: {}
      title: {add: [title__*], cost: {encode_s_per_1k_items: 1.2}}
      description: {add: [description__*], cost: {encode_s_per_1k_items: 6.4}}
      both, early: {add: [both__*], cost: {encode_s_per_1k_items: 7.0}}
      both, late: {add: [title__*, description__*], cost: {encode_s_per_1k_items: 7.6}}
    eval: {seeds: [0, 1, 2]}

``artefacts``, ``output`` and ``tracking_uri`` are those of an experiment.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pydantic import Field

from ranking_eval.experiment import NOT_FEATURES
from ranking_eval.spec_file import (
    ArtefactSpec,
    CostSpec,
    FilePart,
    load_spec,
    match_columns,
    read_rows,
    read_yaml,
)
from ranking_eval.study import Study, Subset
from sail_features.config import EvalConfig


class SubsetSpec(FilePart):
    """The columns made of some inputs, and what they cost."""

    add: tuple[str, ...] = ()
    cost: CostSpec = CostSpec()


class StudySpec(FilePart):
    """The whole file."""

    name: str
    frame: Path
    control: tuple[str, ...] = Field(min_length=1)
    subsets: dict[str, SubsetSpec] = Field(min_length=1)
    artefacts: tuple[ArtefactSpec, ...] = ()
    eval: EvalConfig = EvalConfig()
    output: Path = Path("study")
    tracking_uri: str | None = None


def is_study(path: Path) -> bool:
    """Say whether a file describes a study, and not an experiment.

    Raises
    ------
    ConfigError
        No such file, or invalid YAML.
    """
    return "subsets" in read_yaml(path)


def load_study(path: Path) -> StudySpec:
    """Read and validate a file; its paths become absolute.

    Raises
    ------
    ConfigError
        No such file, invalid YAML, an unknown key or a value out of range.
    """
    return load_spec(path, StudySpec)


def load_rows_and_subsets(spec: StudySpec) -> tuple[pa.Table, Study]:
    """Return the rows with the columns of all subsets, and the study.

    Raises
    ------
    InputError
        The Parquet file can't be read.
    EvaluationError
        A pattern that finds no column, or nothing to compare.
    """
    rows = read_rows(spec.frame)
    names = [name for name in rows.column_names if name not in NOT_FEATURES]
    subsets = tuple(
        Subset(name, match_columns(one.add, names, name), one.cost.given())
        for name, one in spec.subsets.items()
    )
    control = match_columns(spec.control, names, "control")
    artefacts = tuple(one.artefact() for one in spec.artefacts)
    return rows, Study(spec.name, control, subsets, spec.eval, artefacts)
