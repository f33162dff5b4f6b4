"""Training noise: how much a metric moves when nothing but the seed does.

Arms that differ in their seed only look different to a test that knows users alone:
in a fifth to a quarter of cases, however many seeds are averaged. The variance
between fits is measured once on many fits of control and then added to every
interval. A handful of seeds is too few to measure it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ranking_eval.inference.lift import ArmInfluence
from ranking_eval.inference.matrix import InfluenceMatrix
from sail_features.errors import EvaluationError

MIN_FITS: Final = 10


class TrainingNoise(BaseModel):
    """Variance between fits (tau2) of each metric, in its units squared.

    ``fits`` says how many it was measured on, ``fingerprint`` of which rows,
    features and parameters: of others it says nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variance: Mapping[str, float]
    fits: int
    fingerprint: str

    def write(self, path: Path) -> None:
        """Write as JSON, at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        unfinished.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        unfinished.rename(path)


def load_training_noise(path: Path) -> TrainingNoise | None:
    """Return what was measured, None where nothing was.

    Raises
    ------
    EvaluationError
        The file is not one that `TrainingNoise.write` wrote.
    """
    if not path.is_file():
        return None
    try:
        return TrainingNoise.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise EvaluationError.noise_unreadable(path, error) from error


def measure_training_noise(matrix: InfluenceMatrix, arm: str, fingerprint: str) -> TrainingNoise:
    """Measure tau2 of every metric on an arm that was fitted with many seeds.

    Raises
    ------
    EvaluationError
        There are fewer than `MIN_FITS` seeds.
    """
    fits = matrix.values.shape[-1]
    if fits < MIN_FITS:
        raise EvaluationError.too_few_fits(fits, MIN_FITS)
    return TrainingNoise(
        variance={
            metric: compute_training_variance(matrix.of_arm(metric, arm))
            for metric in matrix.metrics
        },
        fits=fits,
        fingerprint=fingerprint,
    )


def compute_training_variance(fits: ArmInfluence) -> float:
    """Return the variance between fits that is not the noise of users, at least 0.

    Notes
    -----
    Fits differ on the test users by chance as well, and that is in the jackknife
    already: the spread of the influence over fits, summed over users, estimates it
    and is taken off the variance of the values.
    """
    spread = fits.influence - fits.influence.mean(axis=1, keepdims=True)
    of_users = (spread**2).sum() / (fits.values.size - 1)
    return max(float(np.var(fits.values, ddof=1) - of_users), 0.0)
