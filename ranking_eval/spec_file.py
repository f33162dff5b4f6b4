"""What the files of experiments and of studies share: parts, patterns of columns, and rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ranking_eval.cost import GivenCost
from ranking_eval.experiment import Artefact
from sail_features.errors import ConfigError, EvaluationError, InputError


class FilePart(BaseModel):
    """A part of a file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Spec = TypeVar("Spec", bound=FilePart)


class ArtefactSpec(FilePart):
    """Something fitted to interactions before a time."""

    name: str
    trained_until: datetime

    def artefact(self) -> Artefact:
        """Return it as the judge takes it."""
        return Artefact(self.name, self.trained_until)


class CostSpec(FilePart):
    """What was measured outside; see `ranking_eval.cost.GivenCost`."""

    online_ms: float | None = Field(default=None, ge=0)
    encode_s_per_1k_items: float | None = Field(default=None, ge=0)

    def given(self) -> GivenCost:
        """Return it as the judge takes it."""
        return GivenCost(**self.model_dump())


def load_spec(path: Path, kind: type[Spec]) -> Spec:
    """Read a file of one kind; its paths become absolute.

    Raises
    ------
    ConfigError
        No such file, invalid YAML, an unknown key or a value out of range.
    """
    raw = read_yaml(path)
    try:
        spec = kind.model_validate(raw)
    except ValidationError as error:
        raise ConfigError.unreadable(path, error) from error
    folder = path.resolve().parent
    paths = {name: value for name, value in spec if isinstance(value, Path)}
    return spec.model_copy(update={name: folder / path for name, path in paths.items()})


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says.

    Raises
    ------
    ConfigError
        No such file, or invalid YAML.
    """
    if not path.is_file():
        raise ConfigError.file_missing(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError.unreadable(path, error) from error


def match_columns(patterns: Iterable[str], names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names that match, each once, in the order of the patterns.

    Raises
    ------
    EvaluationError
        A pattern that finds none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise EvaluationError.missing_columns(where, [pattern], names)
        found.update(dict.fromkeys(matching))
    return tuple(found)


def read_rows(path: Path) -> pa.Table:
    """Return a Parquet file's rows.

    Raises
    ------
    InputError
        It can't be read.
    """
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError.file_unreadable(path, error, "Parquet") from None
