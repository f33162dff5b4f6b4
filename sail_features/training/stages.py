"""Runs a recipe: one stage after the other on one model, each resumable, each measured.

Progressive training (arXiv 2510.12709): I on a large mixture, II on what is closer to the
task, III on hard negatives and clean pairs; collaboration-aware stages may follow. A
stage's folder is named by a digest of all that shapes its weights, the stages before it
included: run again, a finished stage is read, a killed one goes on, and a changed one
begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from sail_features.encoders.omni.folder import WEIGHTS, save_omni
from sail_features.encoders.omni.joint import AnyModel, JointModel, part_model
from sail_features.encoders.omni.model import OmniModel
from sail_features.errors import ConfigError
from sail_features.manifest import sha256_of, sha256_of_file
from sail_features.training.balancing import balance, collect_views
from sail_features.training.data_sets import build_objective, build_pairs
from sail_features.training.distributed import rank
from sail_features.training.first_model import build_model, open_start
from sail_features.training.loop import StepReport, TrainReport, train
from sail_features.training.objective import Objective
from sail_features.training.recipe import Recipe, StageRecipe
from sail_features.training.sources import Sources

MODEL: Final = "model"
"""Subfolder of a stage, and of the whole training, that holds what it made."""

OnStep = Callable[[StepReport], None]
Watch = Callable[[str, Mapping[str, Any]], AbstractContextManager[OnStep]]
"""Takes a stage's name and settings; what it yields is told of each step."""
Measure = Callable[[AnyModel], Mapping[str, float]]


@dataclass(frozen=True)
class StageReport:
    """What one stage did; ``measured`` is empty where nothing was evaluated."""

    name: str
    folder: Path
    train: TrainReport
    weights: Mapping[str, float]
    measured: Mapping[str, float] = field(default_factory=dict)


def run_stages(
    recipe: Recipe,
    sources: Sources,
    folder: Path,
    watch: Watch,
    *,
    measure: Measure | None = None,
    device: str = "cpu",
) -> list[StageReport]:
    """Train all stages of a recipe and save the model after each.

    Parameters
    ----------
    folder : gets a folder for each stage, and ``model``, the last one's.
    measure : what to measure before the first stage and after each; the first report,
        named ``before``, has no training.

    Raises
    ------
    ConfigError, ModelError, InputError
        What the recipe asks for can't be had, or the model to start from has seen what
        happened after ``trained_until``; before the first stage begins.
    TrainingError
        See `loop.train`.
    """
    start = open_start(recipe.model, sources, folder / MODEL)
    model = build_model(recipe.model, sources, recipe.seed).to(device)
    check_stages(recipe, sources, model)
    seen = start.trained_until if start else None
    until = sources.trained_until if recipe.uses_behaviour() else seen
    begun_with = sha256_of_file(start.folder / WEIGHTS) if start else None
    digest = sha256_of(
        [recipe.model.model_dump(mode="json"), recipe.seed, _inputs(sources), begun_with]
    )
    reports = []
    if measure is not None:
        nothing = TrainReport(0, 0, 0.0, {})
        reports.append(StageReport("before", folder, nothing, {}, measure(model)))
    for number, stage in enumerate(recipe.stages, start=1):
        digest = _digest(digest, stage, recipe, sources)
        own = folder / f"{number}-{stage.name}-{digest[:12]}"
        report = _run_stage(stage, recipe, sources, model, own, watch)
        lineage = describe(stage, report, sources)
        _save(model, own / MODEL, until, lineage)
        measured = measure(model) if measure is not None else {}
        reports.append(StageReport(stage.name, own, report.train, report.weights, measured))
    _save(model, folder / MODEL, until, {"stages": [str(r.folder) for r in reports]})
    return reports


def check_stages(recipe: Recipe, sources: Sources, model: AnyModel) -> list[list[Objective]]:
    """Build the objectives of all stages, so that what is wrong shows before the first begins.

    Raises
    ------
    ModelError
        A stage trains a part that the model lacks.
    InputError, ConfigError
        What a stage trains on can't be had.
    """
    for name, data in recipe.data.items():
        if data.kind in ("pairs", "mined") and data.task and sources.words is None:
            raise ConfigError.say(
                f"data set {name!r}",
                f"has the task {data.task}, but the model reads no words",
                hint="leave task out, or set model.settings.text_tokens",
            )
    for stage in recipe.stages:
        for name in stage.balance_against:
            build_pairs(name, recipe.data[name], sources)  # type: ignore[arg-type]
    return [_build_all(stage, recipe, sources, model) for stage in recipe.stages]


def _build_all(
    stage: StageRecipe, recipe: Recipe, sources: Sources, model: AnyModel
) -> list[Objective]:
    return [
        build_objective(name, recipe.data, sources, model, stage.losses, stage.part)
        for name in stage.data
    ]


def describe(stage: StageRecipe, report: StageReport, sources: Sources) -> dict[str, Any]:
    """Return a stage's lineage, for `save_omni`."""
    return {
        "stage": stage.model_dump(mode="json"),
        "weights": dict(report.weights),
        "losses": dict(report.train.losses),
        "towers": {name: table.encoder_id for name, table in sources.tables.items()},
        "trained_until": sources.trained_until.isoformat(),
    }


def _run_stage(
    stage: StageRecipe,
    recipe: Recipe,
    sources: Sources,
    model: AnyModel,
    folder: Path,
    watch: Watch,
) -> StageReport:
    trained = part_model(model, stage.part)
    weights = _weigh(stage, recipe, sources, trained)
    # What objectives draw for themselves mustn't depend on which stages ran in this process.
    torch.manual_seed(int(np.random.default_rng([recipe.seed, stage.train.seed]).integers(2**62)))
    objectives = _build_all(stage, recipe, sources, model)
    described = stage.model_dump(mode="json")
    with watch(stage.name, described) as on_step:
        report = train(
            trained,
            objectives,
            [weights[name] for name in stage.data],
            stage.train,
            folder,
            on_step=on_step,
        )
    if isinstance(model, JointModel) and stage.part == "behaviour":
        model.join()
    return StageReport(stage.name, folder, report, weights)


def _weigh(
    stage: StageRecipe, recipe: Recipe, sources: Sources, model: OmniModel
) -> Mapping[str, float]:
    """Return how often each data set is drawn: as the recipe says, or by balancing."""
    if not stage.balance_against:
        return stage.data
    read = sources if stage.part == "content" else sources.of_towers
    rng = np.random.default_rng([recipe.seed, stage.train.seed])

    def look(names: Sequence[str]) -> dict[str, Any]:
        found = {}
        for name in names:
            data = build_pairs(name, recipe.data[name], read)  # type: ignore[arg-type]
            found[name] = collect_views(model, data, stage.balancing, rng)
        return found

    shares = balance(look(list(stage.data)), look(stage.balance_against), stage.balancing)
    return {name: share * stage.data[name] for name, share in shares.items()}


def _inputs(sources: Sources) -> dict[str, str]:
    """Return the encoder and a hash of the items of each tower, and a hash of the words."""
    found = {
        name: sha256_of([table.encoder_id, table.ids.tolist(), table.available_at_us.tolist()])
        for name, table in sources.tables.items()
    }
    words = sources.words
    return found if words is None else found | {"words": words.digest}


def _digest(before: str, stage: StageRecipe, recipe: Recipe, sources: Sources) -> str:
    """Return a hash of all that shapes the weights after a stage."""
    shaping = stage.model_dump(mode="json") | {"train": stage.train.shaping()}
    names = [*stage.data, *stage.balance_against]
    names += [d.auxiliary for n in stage.data if (d := recipe.data[n]).kind == "id_to_item"
              and d.auxiliary]  # fmt: skip
    data = [
        [name, recipe.data[name].model_dump(mode="json"), sources.fingerprint(recipe.data[name])]
        for name in names
    ]
    return sha256_of([before, shaping, data, sources.trained_until.isoformat()])


def _save(model: AnyModel, folder: Path, until: datetime | None, lineage: dict[str, Any]) -> None:
    """Save the model; of several processes, one does."""
    if rank() == 0:
        save_omni(model, folder, trained_until=until, lineage=lineage)
