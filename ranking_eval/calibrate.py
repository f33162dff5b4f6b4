"""Calibration: many fits of control, to know how much a seed alone changes a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ranking_eval.experiment import Experiment
from ranking_eval.inference import MIN_FITS, TrainingNoise, measure_training_noise
from ranking_eval.rows import Frame
from ranking_eval.trials import compute_noise_fingerprint, fit_arm, measure, prepare
from sail_features.errors import EvaluationError


def calibrate(
    frame: Frame | Mapping[str, Frame],
    experiment: Experiment,
    *,
    fits: int = MIN_FITS,
    progress: Callable[[str], None] | None = None,
) -> TrainingNoise:
    """Fit control with many seeds, and measure the variance between fits.

    Parameters
    ----------
    frame, experiment : as `ranking_eval.evaluate` takes them; only control is fitted.
    fits : how many, at least `MIN_FITS`; their seeds are none of the experiment's.
    progress : called with one sentence before the fits.

    Raises
    ------
    EvaluationError
        Too few fits, or what `ranking_eval.evaluate` raises.

    Notes
    -----
    Give the result to `ranking_eval.evaluate`. It holds for the same rows, columns
    and parameters; the number of seeds may change.
    """
    if fits < MIN_FITS:
        raise EvaluationError.too_few_fits(fits, MIN_FITS)
    setting = prepare(frame, experiment)
    if progress:
        progress(f"fitting arm {experiment.control} with {fits} seeds")
    first = max(experiment.eval.seeds) + 1
    config = experiment.eval.model_copy(update={"seeds": tuple(range(first, first + fits))})
    control = fit_arm(setting, experiment.arms[0], config)
    matrix = measure(setting, {experiment.control: control.fit.scores})
    fingerprint = compute_noise_fingerprint(setting, control)
    return measure_training_noise(matrix, experiment.control, fingerprint)
