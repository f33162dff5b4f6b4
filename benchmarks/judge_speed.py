"""Speed of the judge's metrics and intervals against scikit-learn, in one process.

CPU seconds, the best of several turns, both sides by turns: the machine may be busy.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.bars import Bar
from ranking_eval.inference import (
    METRICS,
    REPORTED,
    ArmInfluence,
    JudgedRows,
    bootstrap_auc,
    build_influence_matrix,
    compute_auc_influence,
    compute_lift,
    compute_sandwich_variance,
)
from ranking_eval.metrics import compute_auc, compute_grouped_auc
from ranking_eval.metrics.score_order import order_scores

USERS_PER_ROW: Final = 0.033
RESAMPLES: Final = 5
"""Resamples that the cost of 1,000 with scikit-learn is extrapolated from."""
GROUP_SHARE: Final = 0.1
"""Share of the groups that the cost of scikit-learn's loop is extrapolated from."""


class Rows:
    """Clicks of 4 %, two scores that tell them apart a little, users of 30 rows."""

    def __init__(self, rows: int, *, decimals: int | None) -> None:
        draw = np.random.default_rng(0)
        self.labels = (draw.random(rows) < 0.04).astype(np.int64)
        shared = draw.normal(size=rows) + self.labels
        self.scores = 1 / (1 + np.exp(-(shared + 0.3 * draw.normal(size=(2, rows)))))
        if decimals is not None:
            self.scores = self.scores.round(decimals)
        self.users = draw.integers(0, int(rows * USERS_PER_ROW), rows)

    def judged(self) -> JudgedRows:
        """Return the rows as the judge takes them."""
        return JudgedRows.of(self.labels == 1, users=self.users)


def best_of(turns: int, *sides: Callable[[], object]) -> list[float]:
    """Return the least CPU seconds of each side, taken by turns."""
    found = [float("inf")] * len(sides)
    for _ in range(turns):
        for place, side in enumerate(sides):
            began = time.process_time()
            side()
            found[place] = min(found[place], time.process_time() - began)
    return found


def judge_difference(rows: Rows) -> object:
    """Compute the paired difference with the exact jackknife interval."""
    judged = rows.judged()
    both = [METRICS["auc"](judged, scores) for scores in rows.scores]
    arms = [ArmInfluence(np.array([one.value]), one.influence[:, None]) for one in both]
    return compute_lift("auc", *arms, both[0].rows)


def judge_everything(rows: Rows) -> object:
    """Compute what the report says of two arms: each metric's difference with its interval."""
    scores = {name: one[None] for name, one in zip("ab", rows.scores, strict=True)}
    matrix = build_influence_matrix(rows.judged(), scores, REPORTED)
    return [matrix.compare(metric, "a", "b") for metric in REPORTED]


def judge_sandwich(rows: Rows) -> object:
    """Compute the paired difference's sandwich variance."""
    judged = rows.judged()
    ours, theirs = (
        compute_auc_influence(order_scores(scores), judged.positive, judged.weights, judged.users)
        for scores in rows.scores
    )
    return compute_sandwich_variance(ours - theirs)


def loop_over_groups(rows: Rows, groups: int) -> float:
    """Compute grouped AUC the usual way, on the first few groups only."""
    kept = np.flatnonzero(rows.users < groups)
    ordered = kept[np.argsort(rows.users[kept], kind="stable")]
    bounds = np.flatnonzero(np.diff(rows.users[ordered])) + 1
    total, weight = 0.0, 0
    for mine in np.split(ordered, bounds):
        labels = rows.labels[mine]
        if 0 < labels.sum() < labels.size:
            total += mine.size * roc_auc_score(labels, rows.scores[0, mine])
            weight += mine.size
    return total / weight


def resample(rows: Rows) -> float:
    """Compute the difference on one resample of rows with scikit-learn."""
    taken = np.random.default_rng(0).integers(0, rows.labels.size, rows.labels.size)
    labels = rows.labels[taken]
    ours, theirs = (roc_auc_score(labels, scores[taken]) for scores in rows.scores)
    return float(ours - theirs)


def measure_speed(count: int, large: int) -> tuple[list[Bar], dict[str, Any]]:
    """Return bars and seconds for ``count`` rows, and the cost of ``large`` ones."""
    kinds = {"continuous": Rows(count, decimals=None), "tied": Rows(count, decimals=4)}
    bars, seconds = [], {}
    for kind, rows in kinds.items():
        warm_up(rows)
        sklearn, ours, jackknife, sandwich, grouped = best_of(
            7,
            lambda rows=rows: roc_auc_score(rows.labels, rows.scores[0]),
            lambda rows=rows: compute_auc(rows.labels, rows.scores[0]),
            lambda rows=rows: judge_difference(rows),
            lambda rows=rows: judge_sandwich(rows),
            lambda rows=rows: compute_grouped_auc(rows.labels, rows.scores[0], rows.users),
        )
        groups = int(count * USERS_PER_ROW * GROUP_SHARE)
        loop = best_of(1, lambda rows=rows, groups=groups: loop_over_groups(rows, groups))[0]
        loop /= GROUP_SHARE
        bars += [
            Bar(
                f"{kind}: AUC (numpy alone) against scikit-learn",
                sklearn / ours,
                "at least",
                12,
                "x",
            ),
            Bar(f"{kind}: difference with jackknife", jackknife / sklearn, "at most", 4, "x"),
            Bar(f"{kind}: difference with sandwich", sandwich / sklearn, "at most", 1.5, "x"),
            Bar(f"{kind}: grouped AUC against a loop", loop / grouped, "at least", 1500, "x"),
        ]
        seconds[kind] = {
            "roc_auc_score": sklearn,
            "auc": ours,
            "jackknife": jackknife,
            "sandwich": sandwich,
            "grouped_auc": grouped,
            "loop of roc_auc_score (extrapolated)": loop,
        }
        if kind == "continuous":
            one = best_of(RESAMPLES, lambda rows=rows: resample(rows))[0]
            drawn = best_of(1, lambda rows=rows: bootstrap_auc(rows.judged(), rows.scores))[0]
            seconds[kind] |= {"1,000 draws": drawn, "1,000 resamples (extrapolated)": 1000 * one}
            bars.append(
                Bar(
                    "1,000 Poisson draws against resampling",
                    1000 * one / drawn,
                    "at least",
                    60,
                    "x",
                )
            )
    rows = Rows(large, decimals=None)
    seconds[f"{large:,} rows"] = {
        "auc": best_of(1, lambda: compute_auc(rows.labels, rows.scores[0]))[0],
        "grouped_auc": best_of(
            1, lambda: compute_grouped_auc(rows.labels, rows.scores[0], rows.users)
        )[0],
        "jackknife": best_of(1, lambda: judge_difference(rows))[0],
        "every reported metric of two arms": best_of(1, lambda: judge_everything(rows))[0],
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    return bars, seconds


def warm_up(rows: Rows) -> None:
    """Compile what is compiled on first use."""
    judge_difference(rows)
    judge_sandwich(rows)
    compute_grouped_auc(rows.labels, rows.scores[0], rows.users)
    bootstrap_auc(rows.judged(), rows.scores, draws=1)
