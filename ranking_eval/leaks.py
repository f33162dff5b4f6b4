"""Signs of a leak that no time stamp shows: what a single column knows.

A guard (`ranking_eval.guards`) proves a leak and raises. A sign only makes the lift
unbelievable until somebody has looked: the verdict becomes "suspected leak".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ranking_eval.experiment import Experiment
from ranking_eval.foresight import find_foresight
from ranking_eval.inference import METRICS, JudgedRows
from ranking_eval.inference.estimate import Estimate
from ranking_eval.inference.lift import compute_jackknife_variance
from ranking_eval.matrix import is_numeric
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.rows import read_codes
from ranking_eval.split import Rows, Split
from ranking_eval.trials import Setting
from sail_features import columns as c
from sail_features.errors import EvaluationError

IMPLAUSIBLE_AUC: Final = 0.95
"""No honest column came near on any data seen here (the highest: .71)."""
LEAST_GAP: Final = 0.03
"""A difference of AUC between training and validation that matters."""
GAP_ERRORS: Final = 4.0
"""... and how many standard errors it must be beyond that."""


def suspect_arms(setting: Setting, arms: Sequence[str]) -> tuple[str, ...]:
    """Look at the columns of some arms, each once, as `find_suspicions` does."""
    experiment, seen = setting.experiment, set[str]()
    found: list[str] = []
    for name in arms:
        columns = experiment.ordered_columns(experiment.arm(name))
        new = [column for column in columns if column not in seen]
        seen.update(new)
        rows = setting.frames[name]
        found += find_suspicions(rows, new, setting.labels, setting.split, experiment)
    return tuple(dict.fromkeys(found))


def find_suspicions(
    rows: pa.Table, columns: Sequence[str], labels: Codes, split: Split, experiment: Experiment
) -> tuple[str, ...]:
    """Return what looks like a leak, a sentence each; none is proof.

    Parameters
    ----------
    rows : all rows of one arm.
    columns : its features.

    Notes
    -----
    Four signs. A single column that ranks test rows almost perfectly. A column that
    ranks training rows better than validation rows, which is what an artefact
    fitted to the ranker's own training labels looks like. A column that knows items or
    users better than their past could (`ranking_eval.foresight`). Requests that lie on
    both sides of the split. What none of them sees: vectors trained on the test period,
    unless they are declared as an `Artefact`.
    """
    clusters = read_codes(rows, experiment.eval.cluster_by)
    found = []
    for name in columns:
        if not is_numeric(rows[name].type):
            continue
        values = rows[name].cast(pa.float64(), safe=False).to_numpy()
        auc = {
            part: _measure(values, labels, clusters, getattr(split, part))
            for part in ("train", "validation", "test")
        }
        tested, trained, validated = auc["test"], auc["train"], auc["validation"]
        if tested is not None and _strength(tested) >= IMPLAUSIBLE_AUC - 0.5:
            found.append(f"column {name!r} alone has an AUC of {tested.value:.3f} on the test rows")
        if trained is None or validated is None:
            continue
        error = np.sqrt(_variance(trained) + _variance(validated))
        gap = _strength(trained) - _strength(validated)
        if gap > LEAST_GAP + GAP_ERRORS * error:
            found.append(
                f"column {name!r} alone has an AUC of {trained.value:.3f} on training rows and "
                f"{validated.value:.3f} on validation rows: was it fitted to their labels?"
            )
    foresight = find_foresight(rows, columns, labels, split)
    return (*found, *foresight, *_find_shared_requests(rows, split))


def _measure(values: Floats, labels: Codes, clusters: Codes, part: Rows) -> Estimate | None:
    """Return the AUC of a column on the rows where it isn't missing; None where undefined."""
    kept = part[np.isfinite(values[part])]
    if not kept.size:
        return None
    judged = JudgedRows.of(labels[kept] == 1, users=clusters[kept])
    try:
        return METRICS["auc"](judged, values[kept])
    except EvaluationError:
        return None


def _strength(auc: Estimate) -> float:
    """Return how far from chance: a column may point either way."""
    return abs(float(auc.value) - 0.5)


def _variance(auc: Estimate) -> float:
    return compute_jackknife_variance(auc.influence[auc.rows > 0])


def _find_shared_requests(rows: pa.Table, split: Split) -> list[str]:
    requests = read_codes(rows, c.REQUEST_ID)
    shared = np.intersect1d(requests[split.train], requests[split.test])
    if not shared.size:
        return []
    return [f"{shared.size:,} requests have rows both in training and in the test"]
