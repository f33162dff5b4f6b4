"""An omni-modal model as a folder, laid out as Hugging Face does.

``model.safetensors`` holds the weights, ``config.json`` the settings, the backbone's
configuration and until when interactions were seen, ``tokenizer*`` the tokenizer of a
model that reads text tokens, and ``lineage.json`` what it was made from. All but the last
shape its id as an encoder.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sail_features.encoders.checkpoints import find_checkpoint, read_json
from sail_features.encoders.omni.backbone import Backbone, build_backbone
from sail_features.encoders.omni.joint import AnyModel, build_omni, part_model
from sail_features.encoders.omni.prompts import load_tokenizer
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.errors import InputError, ModelError

MODEL_TYPE: Final = "sail_omni"
WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
LINEAGE: Final = "lineage.json"


@dataclass(frozen=True)
class SavedModel:
    """What ``config.json`` tells of a saved model.

    ``backbone``: the configuration of its Hugging Face backbone, None where it has none.
    ``trained_until``: no interaction at or after this moment was seen; None: none at all.
    """

    folder: Path
    settings: OmniSettings
    backbone: dict[str, Any] | None
    trained_until: datetime | None


def save_omni(
    model: AnyModel, folder: Path, *, trained_until: datetime | None, lineage: dict[str, Any]
) -> None:
    """Write the model; a folder that is there is replaced at the end, all at once.

    Parameters
    ----------
    trained_until : with a time zone; see `SavedModel`.
    lineage : what it was made from, for people; anything JSON can hold.

    Raises
    ------
    InputError
        ``trained_until`` has no time zone.
    """
    from safetensors.torch import save_file

    if trained_until is not None and trained_until.tzinfo is None:
        raise InputError.say("trained_until", f"{trained_until} has no zone", hint="give it in UTC")
    staged = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, staged / WEIGHTS)
    if model.settings.text_tokens:
        load_tokenizer(model.settings, part_model(model, "content").source).save_pretrained(staged)
    _write_json(staged / CONFIG, _describe(model, trained_until))
    _write_json(staged / LINEAGE, lineage)
    _swap(staged, folder)


def read_saved(folder: Path) -> SavedModel:
    """Return what a saved model's ``config.json`` tells.

    Raises
    ------
    ModelError
        The folder holds no model of this kind, or one that can't be understood.
    """
    config = read_json(folder / CONFIG)
    if config.get("model_type") != MODEL_TYPE:
        raise ModelError.not_found(
            str(folder), f"its model_type is {config.get('model_type')!r}, expected {MODEL_TYPE!r}"
        )
    try:
        settings = OmniSettings.model_validate(config["settings"])
        until = config["trained_until"] and datetime.fromisoformat(config["trained_until"])
        return SavedModel(folder, settings, config["backbone"], until)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise ModelError.not_found(str(folder), f"config.json: {error}") from error


def load_omni(folder: Path | str) -> AnyModel:
    """Return a saved model, ready to train on or to compute with.

    Raises
    ------
    ModelError
        No such model, or weights that are missing or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    saved = read_saved(find_checkpoint(str(folder)))
    backbone = None if saved.backbone is None else build_backbone(saved.backbone)
    model = build_omni(saved.settings, backbone=backbone)
    try:
        model.load_state_dict(load_file(saved.folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError.not_found(str(folder), error) from error
    part_model(model, "content").source = saved.folder
    return model


def _describe(model: AnyModel, trained_until: datetime | None) -> dict[str, Any]:
    trunk = part_model(model, "content").trunk
    return {
        "model_type": MODEL_TYPE,
        "architectures": [type(model).__name__],
        "settings": model.settings.model_dump(mode="json"),
        "backbone": trunk.model.config.to_dict() if isinstance(trunk, Backbone) else None,
        "trained_until": trained_until.isoformat() if trained_until else None,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, default=str)
    path.write_text(text + "\n", encoding="utf-8")


def _swap(staged: Path, folder: Path) -> None:
    """Put the staged folder in place of the old one, which goes only then."""
    old = staged.with_name(f"{staged.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staged.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
