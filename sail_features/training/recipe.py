"""``train.yaml``: the model, the data sets and the stages of a training, all in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from sail_features.config import EncoderConfig, Section, resolve_encoder_paths
from sail_features.encoders.omni.settings import PRESETS, BehaviourPart, OmniSettings, Part
from sail_features.errors import ConfigError
from sail_features.training.balancing import BalancingSettings
from sail_features.training.behaviour_clusters import CLUSTERS
from sail_features.training.collaborative_ids import IdSettings
from sail_features.training.pair_objective import LossSettings
from sail_features.training.settings import TrainSettings

Modality = Literal["audio", "vision", "text"]
Task = Literal["i2i", "q2i", "cls"]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TowerRecipe(EncoderConfig):
    """A frozen encoder, as in ``sail.yaml``, and what the model reads of its outputs.

    ``reads``, ``tokens`` and ``queries`` are those of `Tower`: the encoder's own vector, or
    every frame or patch, ``tokens`` of them at most, brought to ``queries`` learned ones.
    """

    reads: Literal["pooled", "frames", "patches"] = "pooled"
    tokens: int = Field(default=1, ge=1)
    queries: int = Field(default=0, ge=0, le=1024)

    @model_validator(mode="after")
    def _check_reads(self) -> Self:
        if self.reads != "pooled" and self.kind != "vision":
            raise ValueError(f"a {self.kind} tower has no {self.reads}; leave reads at pooled")
        return self


class ModelRecipe(Section):
    """What is trained.

    ``start_from``: a folder of a model that was saved here; null begins with random weights
    of a ``preset``, with some ``settings`` of `OmniSettings` changed. A saved model has its
    settings, and of these it takes ``behaviour`` alone. ``towers``: the frozen encoders;
    none given: those of the preset, or the encoder of ``sail.yaml`` itself unless the model
    reads text tokens. ``text_fields``: columns of items whose words a model of text tokens
    reads, as ``encoder.text_fields`` names them when it serves.
    """

    start_from: Path | None = None
    preset: str = "tiny"
    settings: dict[str, Any] = Field(default_factory=dict)
    towers: dict[Modality, TowerRecipe] = Field(default_factory=dict)
    text_fields: tuple[str, ...] = Field(default=("text",), min_length=1)
    recompute: bool = False
    """Gradient checkpointing inside the trunk: less memory, a third more time."""

    @field_validator("preset")
    @classmethod
    def _check_preset(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(f"choose one of {', '.join(PRESETS)}")
        return preset

    @field_validator("settings")
    @classmethod
    def _check_settings(cls, settings: dict[str, Any], others: ValidationInfo) -> dict[str, Any]:
        if "towers" in settings:
            raise ValueError("towers aren't settings: name them under model.towers")
        preset = PRESETS.get(others.data.get("preset", "tiny"))
        if others.data.get("start_from") is not None:
            if fixed := sorted(set(settings) - {"behaviour"}):
                raise ValueError(f"start_from has its settings already; leave {fixed} out")
            if settings.get("behaviour") is not None:
                BehaviourPart.model_validate(settings["behaviour"])
        elif preset is not None:
            OmniSettings.model_validate({**preset.model_dump(), **settings})
        return settings

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.start_from is not None and "preset" in self.model_fields_set:
            raise ValueError("give start_from or preset: a saved model has its own sizes")
        return self


class PairFile(Section):
    """Pairs of a Parquet file: ``query_item_id`` or ``query_text``, and the target's alike.

    A column ``grade`` makes it a graded set. ``behaviour``: whether users' actions made the
    pairs, all before ``--trained-until``; the encoder then can't be used earlier. ``holdout``:
    this share of the queries isn't trained on and measures recall. ``task``: a model of text
    tokens is told what each side is for (`prompts.INSTRUCTIONS`); null tells both what
    ``model.settings.instruction`` says.
    """

    kind: Literal["pairs"] = "pairs"
    file: Path
    behaviour: bool = True
    query_modalities: tuple[Modality, ...] | None = None
    target_modalities: tuple[Modality, ...] | None = None
    patterns: tuple[tuple[str, str], ...] = (("fused", "fused"),)
    task: Task | None = None
    on_missing: Literal["raise", "drop"] = "raise"
    holdout: float = Field(default=0.0, ge=0, lt=1)


class MinedPairs(Section):
    """Pairs that a Spark job mines from the event log: ``sail-features pairs``.

    ``source``: items that users engaged with within a window of time, or in one session, or
    ``search``: what users searched for, read as text, and what they took then. ``task``: see
    `PairFile`.
    """

    kind: Literal["mined"]
    source: Literal["co_engagement", "session", "search"] = "co_engagement"
    patterns: tuple[tuple[str, str], ...] = (("fused", "fused"),)
    task: Task | None = None
    holdout: float = Field(default=0.0, ge=0, lt=1)


class OwnParts(Section):
    """Each item with itself, seen in different modalities, such as its picture and its text."""

    kind: Literal["items"]
    patterns: tuple[tuple[Modality, Modality], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _cross(self) -> Self:
        same = [query for query, target in self.patterns if query == target]
        if same:
            raise ValueError(f"{same[0]} of an item is always like itself; cross two modalities")
        return self


class NextItem(Section):
    """Sequence to item: a user's past must find what came next.

    ``rule``, one of the four of `sequence_rules`: ``content`` picks the past items most
    similar to the target by the model as it is when the stage begins, ``labels`` those that
    share its tags, ``consistent`` those taken in the same way, ``collaborative`` a sample in
    proportion to the past's clusters. ``behaviours``: of a user on an item that the first
    and the third ask for; the paper's 3 needs a log of several kinds of events.
    ``transformer`` encodes a sequence with three layers, else the mean does.
    """

    kind: Literal["sequence_to_item"]
    rule: Literal["content", "labels", "consistent", "collaborative"] = "collaborative"
    behaviours: int = Field(default=1, ge=1)
    clusters: int = Field(default=CLUSTERS, ge=1)
    targets_per_user: int = Field(default=20, ge=1)
    transformer: bool = False


class ItemIds(Section):
    """ID to item: the vector must tell what collaborative IDs know of the item.

    ``auxiliary``: a data set of pairs trained beside it, so that content isn't forgotten.
    """

    kind: Literal["id_to_item"]
    teachers: tuple[IdSettings, ...] = (IdSettings(),)
    auxiliary: str | None = None
    weight: float = Field(default=1.0, ge=0)
    form: Literal["contrast", "regression"] = "contrast"


DataRecipe = Annotated[
    PairFile | MinedPairs | OwnParts | NextItem | ItemIds, Field(discriminator="kind")
]
BEHAVIOUR = ("mined", "sequence_to_item", "id_to_item")
"""Kinds of data that always come from the event log."""


class StageRecipe(Section):
    """One stage: which data sets, how often each, how long, with which losses.

    ``part``: what it trains of a model with a behaviour part (``model.settings.behaviour``);
    without one the content is the whole.
    ``data``: weights by name; one data set is drawn a step. ``balance_against``: validation
    sets of pairs; the weights of the stage's pair sets then come from their likeness to
    these (`balancing`), measured once, when the stage begins.
    """

    name: str = Field(pattern=r"^[\w-]+$")
    part: Part = "content"
    data: dict[str, Weight] = Field(min_length=1)
    balance_against: tuple[str, ...] = ()
    balancing: BalancingSettings = BalancingSettings()
    train: TrainSettings = TrainSettings()
    losses: LossSettings = LossSettings()


class Recipe(Section):
    """The whole of ``train.yaml``. Paths are relative to the file itself."""

    model: ModelRecipe = ModelRecipe()
    data: dict[str, DataRecipe] = Field(min_length=1)
    stages: tuple[StageRecipe, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    """Of the model's first weights and of held-out pairs; each stage has its own."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        pairs = {name for name, data in self.data.items() if data.kind in PAIRS}
        for stage in self.stages:
            _check_known(f"stage {stage.name}", stage.data, set(self.data))
            _check_known(f"stage {stage.name}, balance_against", stage.balance_against, pairs)
            if stage.balance_against:
                _check_known(f"stage {stage.name}, balanced data", stage.data, pairs)
        for name, data in self.data.items():
            if data.kind == "id_to_item" and data.auxiliary is not None:
                _check_known(f"data {name}, auxiliary", [data.auxiliary], pairs)
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages {names}: name each once")
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        has = self.model.settings.get("behaviour") is not None
        trained = [stage.name for stage in self.stages if stage.part == "behaviour"]
        if has and not trained:
            raise ValueError(
                "no stage trains the behaviour part: give one `part: behaviour`, or leave "
                "model.settings.behaviour out"
            )
        if trained and not has and self.model.start_from is None:
            raise ValueError(
                f"stage {trained[0]} trains a behaviour part that the model hasn't: set "
                "model.settings.behaviour, such as {hidden: 32}"
            )
        return self

    def uses_behaviour(self) -> bool:
        """Tell whether any stage trains on what users did."""
        used = {name for stage in self.stages for name in stage.data}
        found = [self.data[name] for name in used]
        return any(d.kind in BEHAVIOUR or (d.kind == "pairs" and d.behaviour) for d in found)


PAIRS = ("pairs", "mined", "items")


def load_recipe(path: Path) -> Recipe:
    """Read and validate one ``train.yaml``; its paths become absolute.

    Raises
    ------
    ConfigError
        No such file, invalid YAML, an unknown key, a value out of range, or a name that
        no data set has; the message names it.
    """
    if not path.is_file():
        raise ConfigError.say(
            str(path),
            "no such file",
            hint="give --recipe PATH, or copy train.yaml from the repository",
        )
    try:
        recipe = Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError.unreadable(path, error) from error
    folder = path.resolve().parent
    data = {
        name: one.model_copy(update={"file": folder / one.file}) if one.kind == "pairs" else one
        for name, one in recipe.data.items()
    }
    return recipe.model_copy(update={"data": data, "model": _resolve(recipe.model, folder)})


def _resolve(model: ModelRecipe, folder: Path) -> ModelRecipe:
    """Return the model with its paths absolute; what is no folder is an id."""
    named = {name: model.settings.get(name) for name in ("backbone", "tokenizer")}
    found = {
        n: str(folder / name) for n, name in named.items() if name and (folder / name).is_dir()
    }
    return model.model_copy(
        update={
            "start_from": model.start_from and folder / model.start_from,
            "settings": model.settings | found,
            "towers": {n: resolve_encoder_paths(one, folder) for n, one in model.towers.items()},
        }
    )


def _check_known(where: str, named: Any, known: set[str]) -> None:
    unknown = sorted(set(named) - known)
    if unknown:
        raise ValueError(f"{where}: no such data set {unknown[0]!r}, choose of {sorted(known)}")
