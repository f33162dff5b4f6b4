"""What each part of the training is worth: all of it, and all but one part.

On the synthetic omni-modal world of `train_world`, the mean of three seeds. Content pairs
come from two data sets that lie in two halves of the content's space and differ in size; what
is measured comes from both. Prints the table of `ranking_eval/EXPERIMENTS.md`. Takes about
half an hour on one core; names of rows on the command line run these alone, and rows of earlier
runs stay in the file, each with its day.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import RESULTS, describe_machine
from benchmarks.train_real import STEPS
from benchmarks.train_world import CONTENT, CROSSED, Lab
from sail_features.encoders.omni.joint import part_model
from sail_features.encoders.omni.model import OmniModel
from sail_features.training.balancing import BalancingSettings, balance, collect_views
from sail_features.training.loop import train
from sail_features.training.pair_objective import PairObjective
from sail_features.training.patterns import OMNI, Pattern

SEEDS: Final = (0, 1, 2)
FILE: Final = RESULTS / "train_ablations.json"
MEASURES: Final = ("content", "content after CRE", "next item after CRE")


@dataclass(frozen=True)
class Variant:
    """A training with some part of it left out."""

    without: tuple[str, ...] = ()
    hard_negatives: bool = True
    balanced: bool = True
    specialised: bool = True
    patterns: tuple[Pattern, ...] = CROSSED
    matryoshka: tuple[int, ...] = (16, 32, 64)
    steps: tuple[str, ...] = STEPS
    one_vector: bool = False


VARIANTS: Final[Mapping[str, Variant]] = {
    "all": Variant(),
    "no sound": Variant(without=("audio",)),
    "no hard negatives": Variant(hard_negatives=False),
    "no balancing": Variant(balanced=False),
    "no specialisation": Variant(specialised=False),
    "no pattern matching": Variant(patterns=(OMNI,)),
    "no Matryoshka": Variant(matryoshka=(64,)),
    "one vector for both": Variant(one_vector=True),
    "sequence to item alone": Variant(steps=STEPS[:1]),
    "ID to item alone": Variant(steps=STEPS[1:]),
    "order reversed": Variant(steps=STEPS[::-1]),
}


def run(variant: Variant, seed: int) -> dict[str, float]:
    """Train one variant with one seed and return its measures."""
    lab = Lab.build(seed, variant.without)
    model = lab.build_model(seed, variant.matryoshka, one_vector=variant.one_vector)
    content_part = part_model(model, "content")
    objectives = _content(lab, content_part, variant)
    with tempfile.TemporaryDirectory() as folder:
        settings = CONTENT.model_copy(update={"seed": seed})
        weights = _weigh(lab, content_part, objectives, variant)
        train(content_part, objectives, weights, settings, Path(folder) / "content")
        content = lab.measure(model)["content"]
        after = lab.enhance(model, Path(folder), seed, variant.steps)[variant.steps[-1]]
    found = (content, after["content"], after["next item"])
    return dict(zip(MEASURES, found, strict=True))


def _content(lab: Lab, model: OmniModel, variant: Variant) -> list[PairObjective]:
    """Return the content data sets: two by the content's half, or one of both."""
    pairs = lab.partners(0)
    half = lab.world.content[pairs[:, 0], 0] > 0
    parts: dict[str, NDArray[np.int64]] = {"small": pairs[half][::4], "large": pairs[~half]}
    if not variant.specialised:
        parts = {"mixed": np.concatenate(list(parts.values()))}
    return [
        lab.content_objective(
            model,
            patterns=variant.patterns,
            hard_negatives=variant.hard_negatives,
            name=name,
            pairs=own,
        )
        for name, own in parts.items()
    ]


def _weigh(
    lab: Lab, model: OmniModel, objectives: list[PairObjective], variant: Variant
) -> list[float]:
    """Return how often each data set is drawn: by likeness to what is measured, or by size."""
    if len(objectives) == 1 or not variant.balanced:
        return [float(objective.size) for objective in objectives]
    measured = lab.content_objective(model, hard_negatives=False, pairs=lab.partners(1))
    settings, rng = BalancingSettings(), np.random.default_rng(0)
    views = {one.name: collect_views(model, one.data, settings, rng) for one in objectives}
    goal = {"measured": collect_views(model, measured.data, settings, rng)}
    shares = balance(views, goal, settings)
    return [shares[objective.name] for objective in objectives]


def main() -> None:
    """Run the variants, keep each in ``results/train_ablations.json``, and print the table."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or VARIANTS:
        runs = [run(VARIANTS[name], seed) for seed in SEEDS]
        keep(name, {measure: [one[measure] for one in runs] for measure in MEASURES})
        print(name, flush=True)
    found = json.loads(FILE.read_text(encoding="utf-8"))["found"]
    table = Table("", *MEASURES)
    for name in (name for name in VARIANTS if name in found):
        values = (found[name][measure] for measure in MEASURES)
        table.add_row(name, *(f"{np.mean(v):.4f} ± {np.std(v, ddof=1):.4f}" for v in values))
    Console().print(table)


def keep(name: str, measured: dict[str, list[float]]) -> None:
    """Put one row into the file, beside those that are there."""
    RESULTS.mkdir(exist_ok=True)
    told = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {"found": {}}
    told |= {"benchmark": "train_ablations", "machine": describe_machine()}
    told["found"][name] = {**measured, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    FILE.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
