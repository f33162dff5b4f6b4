"""Training the encoder: what content pairs teach it, and what users' behaviour adds.

Three parts, each of which can be named alone: ``world``, a synthetic omni-modal catalogue
and a tiny model; ``recall``, the next item on two public logs with MiniLM as the frozen
tower; ``lift``, the AUC that match features of the enhanced encoder add to those of raw
MiniLM, the ranker seeing nothing before the encoder's ``trained_until``. Needs
../shared/data for the last two. Takes about twenty minutes, and ten more where the public
items have not been encoded yet.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.train_judge import Judge
from benchmarks.train_real import STEPS, RealSet, enhance, mine
from benchmarks.train_world import CONTENT, Lab
from ranking_eval import Evaluation
from ranking_eval.slice_lifts import SliceLift
from sail_features.config import EvalConfig
from sail_features.encoders.omni.joint import part_model
from sail_features.training.evaluation.pair_recall import chance
from sail_features.training.loop import train

SEEDS: Final = (0, 1, 2)
TRAINED_SHARE: Final = 0.5
"""Of a log's impressions: the encoder's ``trained_until``, and where the ranker's rows begin."""
JUDGED: Final = EvalConfig(
    warmup_share=TRAINED_SHARE, controls=False, slices=("item_earlier_rows",), seeds=tuple(range(8))
)
COLD: Final = "item_earlier_rows: none"
"""Items that appeared after the ranker's rows began, and so after ``trained_until``."""


def measure_world(seed: int) -> dict[str, Any]:
    """Return recalls of one world: before training, after content, after each step of CRE.

    ``one vector``: after the steps, too, where they train the content's vector itself.
    ``other items``: where what they train on is the behaviour of other items, a placebo.
    """
    lab, after = Lab.build(seed), STEPS[-1]
    model = lab.build_model(seed)
    content = part_model(model, "content")
    found: dict[str, Any] = {"random init": lab.measure(model)}
    with tempfile.TemporaryDirectory() as folder:
        train(
            content,
            [lab.content_objective(content)],
            [1.0],
            CONTENT.model_copy(update={"seed": seed}),
            Path(folder) / "content",
        )
        shared, placebo = deepcopy(content), deepcopy(model)
        found["content"] = lab.measure(model)
        found["alone"] = {name: lab.measure(model, (name,))["content"] for name in lab.inputs.has}
        found |= lab.enhance(model, Path(folder) / "own part", seed, STEPS)
        lying = replace(lab, dealt=0).enhance(placebo, Path(folder) / "other items", seed, STEPS)
        found["other items"] = lying[after]
        found["one vector"] = lab.enhance(shared, Path(folder) / "one vector", seed, STEPS)
    found["chance"] = chance(len(lab.inputs), 10)
    return found


def judge_world() -> tuple[list[Bar], dict[str, Any]]:
    """Return the bars of the synthetic world, the worst of all seeds."""
    runs = {f"seed {seed}": measure_world(seed) for seed in SEEDS}
    after = STEPS[-1]

    def worst(ratio: Callable[[dict[str, Any]], float]) -> float:
        return min(ratio(run) for run in runs.values())

    bars = [
        Bar(
            "i2i Recall@10 after content training, against random init",
            worst(lambda run: run["content"]["content"] / run["random init"]["content"]),
            "at least",
            3,
            "x",
        ),
        Bar(
            "weakest modality alone, against chance",
            worst(lambda run: min(run["alone"].values()) / run["chance"]),
            "at least",
            2,
            "x",
        ),
        Bar(
            "all modalities, against the best alone",
            worst(lambda run: run["content"]["content"] / max(run["alone"].values())),
            "at least",
            1,
            "x",
        ),
        Bar(
            "next item Recall@10 after CRE, against before",
            worst(lambda run: run[after]["next item"] / run["content"]["next item"]),
            "at least",
            1.2,
            "x",
        ),
        Bar(
            "next item Recall@10 after CRE, against a placebo",
            worst(lambda run: run[after]["next item"] / run["other items"]["next item"]),
            "at least",
            1.2,
            "x",
        ),
        Bar(
            "i2i Recall@10 after CRE, against before",
            worst(lambda run: run[after]["content"] / run["content"]["content"]),
            "at least",
            0.9,
            "x",
        ),
    ]
    return bars, runs


def judge_recall() -> tuple[list[Bar], dict[str, Any]]:
    """Return the bars of the next item on the public logs, the mean of all seeds."""
    bars, details = [], {}
    for name in ("ifdb", "online_retail"):
        found = measure_recall(RealSet.open(name))
        after = [run[STEPS[-1]]["next item"] for run in found["runs"].values()]
        ratio = sum(after) / len(after) / found["raw"]["next item"]
        bars.append(
            Bar(f"{name}: next item Recall@10, against raw MiniLM", ratio, "at least", 1.2, "x")
        )
        later = [run[STEPS[-1]]["next 20 items"] for run in found["runs"].values()]
        ratio = sum(later) / len(later) / found["raw"]["next 20 items"]
        bars.append(
            Bar(f"{name}: the same of up to 20 next items a user", ratio, "at least", 1.2, "x")
        )
        details[name] = found
    return bars, details


def measure_recall(real: RealSet) -> dict[str, Any]:
    """Return recalls of the raw tower, and after each step of CRE by seed."""
    since, until = real.moment(TRAINED_SHARE), real.moment(0.999)

    def measure(table: Any) -> dict[str, float]:
        return {
            "next item": real.next_item_recall(table, since, until),
            "next 20 items": real.next_item_recall(table, since, until, targets=20),
            "content": real.content_recall(table),
        }

    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = mine(real, since, Path(folder))
        for seed in SEEDS:
            steps = enhance(real, since, pairs, Path(folder) / str(seed), seed=seed)
            runs[f"seed {seed}"] = {step: measure(table) for step, table in steps.items()}
    return {"trained_until": str(since), "raw": measure(real.raw), "runs": runs}


def judge_lift() -> tuple[list[Bar], dict[str, Any]]:
    """Return the bars of match features of CRE against those of raw MiniLM, and of a placebo."""
    bars, details = [], {}
    for name in ("online_retail", "xwines_slim"):
        found = details[name] = measure_lift(RealSet.open(name))
        lift, beyond = found["behaviour"], found["behaviour over that of other items"]
        if name == "online_retail":
            cold = lift["slices"].get(COLD, {"high": 0.0})
            bars += [
                Bar(f"{name}: AUC lift, lower end", lift["low"], "at least", 0, ""),
                Bar("cold items: AUC lift, upper end", cold["high"], "at least", 0, ""),
                Bar(f"{name}: AUC beyond placebo, lower end", beyond["low"], "at least", 0, ""),
            ]
        else:
            bars.append(Bar(f"{name}: AUC lift, upper end", lift["high"], "at least", 0, ""))
    return bars, details


def measure_lift(real: RealSet) -> dict[str, Any]:
    """Return the lift of the encoder after all steps beyond the raw tower's, and a placebo's.

    The placebo is trained in the same way on the behaviour of other items.
    """
    until = real.moment(TRAINED_SHARE)
    encoders = {"raw": real.raw}
    for name, seen in (("behaviour", real), ("behaviour of other items", real.permuted())):
        with tempfile.TemporaryDirectory() as folder:
            pairs = mine(seen, until, Path(folder))
            encoders[name] = enhance(seen, until, pairs, Path(folder))[STEPS[-1]]
    raw, behaviour, placebo = encoders.values()
    judge = Judge(real.dataset, until, JUDGED)
    return {
        "trained_until": str(until),
        "behaviour": _told(judge.lift(raw, behaviour)),
        "behaviour of other items": _told(judge.lift(raw, placebo)),
        "behaviour over that of other items": _told(judge.lift(placebo, behaviour)),
    }


def _told(judged: Evaluation) -> dict[str, Any]:
    lift = judged.lift["auc"]
    return {
        "arms": {arm: fitted.metrics["auc"] for arm, fitted in judged.arms.items()},
        "lift": lift.delta,
        "low": lift.low,
        "high": lift.high,
        "slices": {one.name: _describe(one) for one in judged.slices if one.lift},
    }


def _describe(found: SliceLift) -> dict[str, float]:
    lift = found.lift
    if lift is None:
        return {}
    return {
        "rows": found.rows,
        "lift": lift.delta,
        "low": lift.low,
        "high": lift.high,
        "adjusted_p": found.adjusted_p,
    }


PARTS: Final = {"world": judge_world, "recall": judge_recall, "lift": judge_lift}


def main() -> None:
    """Measure all parts, or those named on the command line."""
    torch.set_num_threads(1)
    named = sys.argv[1:] or list(PARTS)
    bars, details = [], {}
    for name in named:
        found, details[name] = PARTS[name]()
        bars += found
    finish("train" if named == list(PARTS) else f"train_{'_'.join(named)}", bars, details)


if __name__ == "__main__":
    main()
