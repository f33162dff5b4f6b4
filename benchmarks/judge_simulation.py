"""Is the interval right? Worlds with a known truth, judged over and over.

Users differ in how many rows they have, how often they click, how they are scored,
and how much a score helps them. Labels and scores are normal given the user, so the
AUC between users is known in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks.bars import Bar
from ranking_eval.inference import (
    METRICS,
    ArmInfluence,
    JudgedRows,
    Lift,
    adjust_p_values,
    build_influence_matrix,
    compute_delong_variance,
    compute_difference_influence,
    compute_lift,
    compute_sandwich_variance,
    measure_training_noise,
)
from ranking_eval.matrix import Matrix
from ranking_eval.rankers import RankerRows, fit_ranker
from ranking_eval.split import Split
from sail_features.config import EvalConfig

Floats = NDArray[np.float64]

CONTROL_AUC: Final = 0.72
NEVER: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """Spreads of what users differ in: rows, log-odds of a click, score, benefit.

    ``own`` is the spread of a user's score that is not shared by the arms.
    """

    users: int
    label: float = 0.0
    score: float = 0.0
    own: float = 0.0
    benefit: float = 0.0
    sizes: float = 0.9
    shared_noise: float = 0.5

    def draw(self, seed: tuple[int, ...], aucs: tuple[float, ...]) -> tuple[JudgedRows, Floats]:
        """Return rows, and a score for each AUC wanted, shape (arms, rows)."""
        draw = np.random.default_rng(seed)
        sizes = np.ceil(13 * np.exp(self.sizes * draw.normal(size=self.users))).astype(int)
        user = np.repeat(np.arange(self.users), sizes)
        rows, arms = user.size, len(aucs)
        odds = -1.5 + self.label * draw.normal(size=self.users)
        positive = draw.random(rows) < (1 / (1 + np.exp(-odds)))[user]
        noise = self.shared_noise**0.5 * draw.normal(size=rows)
        noise = noise + (1 - self.shared_noise) ** 0.5 * draw.normal(size=(arms, rows))
        of_user = self.score * draw.normal(size=self.users)
        of_user = of_user + self.own * draw.normal(size=(arms, self.users))
        benefit = self.benefit * draw.normal(size=(arms, self.users))
        gaps = norm.ppf(aucs) * np.sqrt(2 * (1 + self.score**2 + self.own**2) + self.benefit**2)
        scores = of_user[:, user] + noise + positive * (gaps[:, None] + benefit[:, user])
        return JudgedRows.of(positive, users=user), scores


WORLDS: Final[Mapping[str, World]] = {
    "independent rows (1,000 users)": World(1000),
    "moderate clustering (1,000)": World(1000, label=0.5, score=0.3, own=0.25, benefit=0.2),
    "strong clustering (1,000)": World(1000, label=1.0, score=0.8, own=0.6, benefit=0.6),
    "strong clustering (200)": World(200, label=1.0, score=0.8, own=0.6, benefit=0.6),
    "a few heavy users (50)": World(50, label=1.0, score=0.8, own=0.6, benefit=0.6, sizes=1.2),
}
LIFTS: Final = (0.0, 0.001, 0.003, 0.01)


def compare(rows: JudgedRows, ours: Floats, theirs: Floats) -> Lift:
    """Return the lift of one score over another as the judge computes it."""
    both = [METRICS["auc"](rows, scores) for scores in (ours, theirs)]
    arms = [ArmInfluence(np.array([one.value]), one.influence[:, None]) for one in both]
    return compute_lift("auc", *arms, both[0].rows)


def simulate_worlds(runs: int) -> tuple[list[Bar], dict[str, Any]]:
    """Measure coverage of a true lift and false alarms between twins, in every world.

    A run has control, its exchangeable twin, and an arm that is better by .01. The
    truth is the mean over runs, since pairs within a user, which count in the
    expectation, are many in the smallest world.
    """
    bars, details = [], {}
    for number, (name, world) in enumerate(WORLDS.items()):
        found = []
        for run in range(runs):
            rows, scores = world.draw(
                (1, number, run), (CONTROL_AUC, CONTROL_AUC, CONTROL_AUC + 0.01)
            )
            better, twin = compare(rows, scores[2], scores[0]), compare(rows, scores[1], scores[0])
            pair = scores[1:2], scores[:1]
            influence = compute_difference_influence(rows, *pair, rows.clusters)
            found.append(
                (
                    better.delta,
                    (better.high - better.low) / 2,
                    twin.p_value < 0.05,
                    abs(twin.delta) > 1.96 * compute_sandwich_variance(influence) ** 0.5,
                    abs(twin.delta) > 1.96 * compute_delong_variance(rows.positive, *pair) ** 0.5,
                    better.effective_users,
                )
            )
        delta, half, alarms, sandwich, delong, users = np.array(found, dtype=float).T
        coverage = float((abs(delta - delta.mean()) <= half).mean())
        bars += [
            Bar(f"{name}: coverage", coverage, "at least", 0.93, ""),
            Bar(f"{name}: coverage, not more than", coverage, "at most", 0.97, ""),
            Bar(f"{name}: false alarms", float(alarms.mean()), "at most", 0.065, ""),
        ]
        details[name] = {
            "coverage": coverage,
            "false alarms": float(alarms.mean()),
            "false alarms of the sandwich": float(sandwich.mean()),
            "false alarms of DeLong": float(delong.mean()),
            "effective users": float(users.mean()),
        }
    return bars, details


def simulate_lifts(runs: int) -> tuple[list[Bar], dict[str, Any]]:
    """Measure how often planted lifts are covered and found, against what power predicts."""
    world = World(1000, label=0.5, score=0.3, own=0.1, benefit=0.1, shared_noise=0.9)
    bars, details = [], {}
    for number, planted in enumerate(LIFTS):
        lifts = [
            compare(rows, scores[1], scores[0])
            for rows, scores in (
                world.draw((2, number, run), (CONTROL_AUC, CONTROL_AUC + planted))
                for run in range(runs)
            )
        ]
        covered = float(np.mean([lift.low <= planted <= lift.high for lift in lifts]))
        power = float(np.mean([lift.p_value < 0.05 for lift in lifts]))
        predicted = float(np.mean([predict_power(lift, planted) for lift in lifts]))
        error = float(np.mean([lift.standard_error for lift in lifts]))
        bars += [
            Bar(f"planted lift {planted:g}: coverage", covered, "at least", 0.93, ""),
            Bar(f"planted lift {planted:g}: coverage, not more than", covered, "at most", 0.97, ""),
            Bar(
                f"planted lift {planted:g}: power less predicted",
                abs(power - predicted),
                "at most",
                0.05,
                "",
            ),
        ]
        details[f"{planted:g}"] = {
            "coverage": covered,
            "power": power,
            "predicted power": predicted,
            "mean standard error": error,
        }
    return bars, details


def predict_power(lift: Lift, planted: float) -> float:
    """Return the chance that a difference of this size is found, by the lift's own error."""
    freedom = lift.effective_users - 1
    reached = planted / lift.standard_error
    edge = student.ppf(0.975, freedom)
    return float(student.sf(edge - reached, freedom) + student.cdf(-edge - reached, freedom))


def simulate_slices(runs: int) -> tuple[list[Bar], dict[str, Any]]:
    """Measure how often any of 20 slices of 50 users, or all rows, show a false lift."""
    world = WORLDS["moderate clustering (1,000)"]
    pointwise, adjusted = 0, 0
    for run in range(runs):
        rows, scores = world.draw((3, run), (CONTROL_AUC, CONTROL_AUC))
        parts = {f"slice {part}": rows.users % 20 == part for part in range(20)}
        arms = {"twin": scores[:1], "control": scores[1:]}
        matrix = build_influence_matrix(rows, arms, ["auc"], parts)
        p_values = [
            matrix.compare("auc", "twin", "control", part=part).p_value for part in matrix.slices
        ]
        pointwise += min(p_values) < 0.05
        adjusted += bool(adjust_p_values(p_values).min() < 0.05)
    found = {"any finding, Holm": adjusted / runs, "any finding, pointwise": pointwise / runs}
    return [Bar("21 null slices: any finding", adjusted / runs, "at most", 0.06, "")], found


def simulate_seeds(
    worlds: int, experiments: int, seeds: int = 3
) -> tuple[list[Bar], dict[str, Any]]:
    """Judge pairs of arms that differ in their seeds only, with LightGBM and calibrated tau2.

    In every world 10 fits calibrate, and each experiment has fits of its own.
    """
    alarms = {"calibrated": 0, "users only": 0, "spread of the seeds at hand": 0}
    variances = []
    for number in range(worlds):
        rows, scores = fit_seeds(number, 10 + 2 * seeds * experiments)
        calibration = build_influence_matrix(rows, {"control": scores[:10]}, ["auc"])
        tau2 = measure_training_noise(calibration, "control", "simulated").variance["auc"]
        variances.append(tau2)
        for arms in scores[10:].reshape(experiments, 2, seeds, -1):
            matrix = build_influence_matrix(rows, {"a": arms[0], "b": arms[1]}, ["auc"])
            for name, known in (
                ("calibrated", tau2),
                ("users only", 0.0),
                ("spread of the seeds at hand", None),
            ):
                lift = matrix.compare("auc", "a", "b", training_variance=known)
                alarms[name] += lift.p_value < 0.05
    total = worlds * experiments
    rates = {name: count / total for name, count in alarms.items()}
    bar = Bar(f"{total} A/A of seeds: false alarms", rates["calibrated"], "at most", 0.08, "")
    return [bar], {
        "false alarms": rates,
        "experiments": total,
        "seeds an arm": seeds,
        "tau of AUC": np.sqrt(variances).tolist(),
    }


def fit_seeds(number: int, fits: int) -> tuple[JudgedRows, Floats]:
    """Return the test rows of a world, and what rankers of many seeds say of them."""
    draw = np.random.default_rng((4, number))
    rows, users = 16_000, 500
    user = np.r_[np.arange(users), draw.integers(0, users, rows - users)]
    user = user[draw.permutation(rows)]
    features = draw.normal(size=(rows, 8))
    odds = features[:, :4].sum(axis=1) * 0.4 + features[:, 0] * features[:, 1] - 1
    odds += 0.5 * draw.normal(size=users)[user]
    labels = (draw.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    parts = np.split(np.arange(rows), [5000, 7000])
    split = Split(NEVER, NEVER, NEVER, NEVER, NEVER, *parts)
    config = EvalConfig(seeds=tuple(range(fits)), max_rounds=60, early_stopping_rounds=10)
    names = tuple(f"feature_{place}" for place in range(8))
    fitted = fit_ranker(
        RankerRows(Matrix(names, features, {}), labels, np.arange(len(labels)), split), config
    )
    tested = np.unique(user[split.test], return_inverse=True)[1]
    return JudgedRows.of(labels[split.test] == 1, users=tested), fitted.scores
