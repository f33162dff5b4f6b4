"""Turns a stored verdict into a decision that a scheduler or a pull request can take."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ranking_eval.verdict import Outcome, Verdict
from sail_features.errors import EvaluationError


class StoredVerdict(BaseModel):
    """What ``summary.json`` says of the outcome; the rest of the file is passed over."""

    model_config = ConfigDict(extra="ignore")

    outcome: Outcome
    verdict: str


def read_verdict(path: Path) -> Verdict:
    """Return the verdict of an evaluation that was written to ``summary.json``.

    Raises
    ------
    EvaluationError
        There is no such file, or it holds no verdict.
    """
    try:
        stored = StoredVerdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EvaluationError.no_verdict(path, error) from None
    return Verdict(stored.outcome, stored.verdict)
