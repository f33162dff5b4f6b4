"""The model that the first stage of a recipe begins with: of a preset, or a saved one."""

from __future__ import annotations

from pathlib import Path

import torch

from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.omni.folder import SavedModel, load_omni, read_saved
from sail_features.encoders.omni.joint import AnyModel, JointModel, build_omni
from sail_features.encoders.omni.settings import BehaviourPart, OmniSettings, Tower, from_preset
from sail_features.errors import ConfigError, ModelError
from sail_features.training.recipe import ModelRecipe
from sail_features.training.sources import Sources


def settings_of(recipe: ModelRecipe) -> OmniSettings:
    """Return the settings of a recipe's model, as they are before it is bound to its towers.

    Raises
    ------
    ConfigError, ModelError
        The preset, its settings, or the model to start from, make no sense.
    """
    if recipe.start_from is not None:
        return read_saved(recipe.start_from).settings
    return from_preset(recipe.preset, **recipe.settings)


def check_model(recipe: ModelRecipe) -> None:
    """Refuse what can be refused before any item is encoded.

    Raises
    ------
    ConfigError, ModelError
        Settings that contradict each other or their towers, or other towers than those of
        the model to start from.
    """
    if recipe.start_from is None:
        towers = {n: Tower.of(one, dim=1, encoder_id="") for n, one in recipe.towers.items()}
        from_preset(recipe.preset, **recipe.settings, towers=towers)
        return
    saved = read_saved(recipe.start_from).settings.towers
    for name, config in recipe.towers.items():
        if name not in saved:
            continue  # `build_model` says so, with all of both
        found, wanted = build_encoder(config).encoder_id, saved[name].encoder_id
        if (found, config.reads) != (wanted, saved[name].reads):
            raise ModelError.say(
                f"model {recipe.start_from}, {name} tower",
                f"was trained on {saved[name].reads} vectors of {wanted}, the recipe gives "
                f"{config.reads} ones of {found}",
                hint="give the towers that it was trained with",
            )


def open_start(recipe: ModelRecipe, sources: Sources, own: Path) -> SavedModel | None:
    """Return the saved model to start from, None where there is none.

    Parameters
    ----------
    own : folder that this training's model will be written to.

    Raises
    ------
    ConfigError
        It lies there, or has seen more than what is trained now may.
    """
    if recipe.start_from is None:
        return None
    if recipe.start_from.resolve() == own.resolve():
        raise ConfigError.say(
            "model.start_from",
            f"{own} is where this training writes its own model",
            hint="give another --out, or start from a copy",
        )
    saved = read_saved(recipe.start_from)
    if saved.trained_until is not None and saved.trained_until > sources.trained_until:
        raise ConfigError.say(
            "model.start_from",
            f"was trained until {saved.trained_until}, after --trained-until "
            f"{sources.trained_until}",
            hint="give a --trained-until that isn't earlier, or start from an earlier model",
        )
    return saved


def build_model(recipe: ModelRecipe, sources: Sources, seed: int) -> AnyModel:
    """Return the model that the first stage begins with, bound to the towers' vectors.

    Raises
    ------
    ModelError
        The folder to start from was trained on other towers' vectors.
    ConfigError
        The preset or its settings don't exist.
    """
    torch.manual_seed(seed)
    if recipe.start_from is not None:
        model = _widen(load_omni(recipe.start_from), recipe)
        bound = sources.inputs.bind(model.settings)
        if bound.towers.keys() != model.settings.towers.keys():
            raise ModelError.say(
                f"model {recipe.start_from}",
                f"reads {', '.join(model.settings.towers)}, the recipe's towers give "
                f"{', '.join(bound.towers)}",
                hint="give the towers that it was trained with",
            )
    else:
        model = build_omni(_settings(recipe, sources))
    model.recompute(recipe.recompute)
    return model


def _widen(model: AnyModel, recipe: ModelRecipe) -> AnyModel:
    """Give a saved model the behaviour part that the recipe asks for."""
    if recipe.settings.get("behaviour") is None:
        return model
    if isinstance(model, JointModel):
        raise ModelError.say(
            f"model {recipe.start_from}",
            "has a behaviour part already",
            hint="leave model.settings.behaviour out, or start from the model before it",
        )
    part = BehaviourPart.model_validate(recipe.settings["behaviour"])
    return JointModel(model.settings.model_copy(update={"behaviour": part}), content=model)


def _settings(recipe: ModelRecipe, sources: Sources) -> OmniSettings:
    """Return a preset's settings with the towers that made the vectors."""
    towers = {
        name: Tower.of(config, dim=table.dim, encoder_id=table.encoder_id)
        for name, config in recipe.towers.items()
        for table in [sources.tables[name]]
    }
    return sources.inputs.bind(from_preset(recipe.preset, **recipe.settings, towers=towers))
