"""Test scores on disk, so that the arms of two runs can be compared later.

A summary holds figures of one run; whether today's treatment beats last month's needs
both runs' scores of the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ranking_eval.evaluation import Evaluation
from ranking_eval.inference import REPORTED, JudgedRows, Lift, build_influence_matrix
from ranking_eval.metrics.arrays import Floats
from ranking_eval.rows import ORDER, read_codes, read_labels
from sail_features import columns as c
from sail_features.errors import EvaluationError

SCORES: Final = "scores.parquet"
CLUSTER: Final = "cluster"
KEY: Final = (*ORDER, c.LABEL, CLUSTER)


def write_scores(evaluation: Evaluation, folder: Path) -> Path:
    """Write ids, labels and every seed's score of the test rows; replace an earlier file whole.

    A column ``arm/0``, ``arm/1``, ... for each arm and seed, float64.
    """
    table = evaluation.tested
    for arm, result in evaluation.arms.items():
        for place, scores in enumerate(result.fit.scores):
            table = table.append_column(f"{arm}/{place}", pa.array(scores))
    path = folder / SCORES
    unfinished = folder / f".{SCORES}"
    pq.write_table(table, unfinished, compression="zstd")
    unfinished.rename(path)
    return path


def compare_runs(earlier: Path, later: Path, *, arm: str = "treatment") -> Mapping[str, Lift]:
    """Return the difference of an arm between two runs on the same test rows, by metric.

    Parameters
    ----------
    earlier, later : folders that an evaluation wrote into.
    arm : in both runs.

    Raises
    ------
    EvaluationError
        A folder has no scores, or no such arm; the runs judged other rows, or with
        other numbers of seeds.
    """
    ours, theirs = _read(later), _read(earlier)
    _check_same_rows(earlier, later, theirs, ours)
    scores = {"later": _scores_of(ours, arm, later), "earlier": _scores_of(theirs, arm, earlier)}
    sizes = {name: len(found) for name, found in scores.items()}
    if len(set(sizes.values())) > 1:
        raise EvaluationError.runs_differ(
            earlier, later, f"{sizes['earlier']} seeds against {sizes['later']}"
        )
    judged = JudgedRows.of(
        read_labels(ours) == 1,
        users=read_codes(ours, c.USER_ID),
        requests=read_codes(ours, c.REQUEST_ID),
        clusters=read_codes(ours, CLUSTER),
    )
    matrix = build_influence_matrix(judged, scores, REPORTED)
    return {metric: matrix.compare(metric, "later", "earlier") for metric in REPORTED}


def _read(folder: Path) -> pa.Table:
    try:
        return pq.read_table(folder / SCORES)
    except (OSError, pa.ArrowInvalid) as error:
        raise EvaluationError.no_scores(folder, error) from None


def _check_same_rows(earlier: Path, later: Path, theirs: pa.Table, ours: pa.Table) -> None:
    """Test rows stand in the order of `ORDER` in every run: equal rows are equal columns."""
    if ours.num_rows != theirs.num_rows:
        problem = f"{theirs.num_rows:,} test rows against {ours.num_rows:,}"
        raise EvaluationError.runs_differ(earlier, later, problem)
    for name in KEY:
        if (
            ours[name].type != theirs[name].type
            or not pc.all(pc.equal(ours[name], theirs[name])).as_py()
        ):
            raise EvaluationError.runs_differ(earlier, later, f"{name} of the test rows differs")


def _scores_of(table: pa.Table, arm: str, folder: Path) -> Floats:
    names = [name for name in table.column_names if name.rpartition("/")[0] == arm]
    if not names:
        arms = sorted({name.rpartition("/")[0] for name in table.column_names} - {""})
        raise EvaluationError.bad_arms(str(folder), f"no arm {arm!r}; it has {', '.join(arms)}")
    return np.stack([table[name].to_numpy() for name in names])
