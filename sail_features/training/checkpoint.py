"""Checkpoints of a run: weights, optimiser and step, whole or not there at all.

A checkpoint is a folder ``checkpoint-00001200`` of one safetensors file and one JSON file,
written beside and renamed into place; then the one before it is removed. Randomness is a
function of the seed and the step, so the step alone restores it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sail_features.errors import ConfigError, ModelError, show

TENSORS: Final = "tensors.safetensors"
STATE: Final = "state.json"
PREFIX: Final = "checkpoint-"
OPTIMISER: Final = "optimiser"

Modules = Mapping[str, nn.Module]
"""What is trained, by name: the model and the objectives' own parameters."""


def iter_parameters(modules: Modules) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters that are trained, by names that no two modules share."""
    for name, module in modules.items():
        for part, parameter in module.named_parameters():
            if parameter.requires_grad:
                yield f"{name}/{part}", parameter


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Modules,
    optimiser: torch.optim.Optimizer,
    run: Mapping[str, Any],
) -> None:
    """Write the state before ``step`` is done, and remove older ones.

    Parameters
    ----------
    run : what the run was asked for, JSON-able; only the same may go on from here.
    """
    target = folder / f"{PREFIX}{step:08d}"
    if not target.is_dir():
        staged = folder / f".{target.name}.{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        save_file(_collect(modules, optimiser), staged / TENSORS)
        text = json.dumps({"step": step, "run": dict(run)}, indent=2)
        (staged / STATE).write_text(text + "\n", encoding="utf-8")
        staged.rename(target)
    for old in folder.glob(f"{PREFIX}*"):
        if old != target:
            shutil.rmtree(old)


def load_checkpoint(
    folder: Path, modules: Modules, optimiser: torch.optim.Optimizer, run: Mapping[str, Any]
) -> int:
    """Put the newest checkpoint's state into the modules; return the step to go on with.

    Returns
    -------
    0 where the folder holds no checkpoint.

    Raises
    ------
    ConfigError
        It was written by a run with other settings or other data.
    ModelError
        It holds another architecture, or can't be read.
    """
    found = sorted(folder.glob(f"{PREFIX}*"))
    if not found:
        return 0
    newest = found[-1]
    state, tensors = _read(newest)
    _check_run(newest, state["run"], json.loads(json.dumps(dict(run))))
    _check_shapes(newest, modules, tensors)
    for name, module in modules.items():
        own = {key: tensors[f"{name}/{key}"] for key in module.state_dict()}
        module.load_state_dict(own)
    for name, parameter in iter_parameters(modules):
        moments = f"{OPTIMISER}/{name}/"
        kept = {k.removeprefix(moments): v for k, v in tensors.items() if k.startswith(moments)}
        if kept:
            optimiser.state[parameter] = {k: v.to(parameter.device) for k, v in kept.items()}
    return int(state["step"])


def _collect(modules: Modules, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return copies of all tensors: safetensors refuses those that share memory."""
    tensors = {
        f"{name}/{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for name, parameter in iter_parameters(modules):
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{OPTIMISER}/{name}/{key}"] = value
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError

    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        return state, load_file(path / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError.say(
            str(path), f"can't be read: {error}", hint="remove the folder and train again"
        ) from error


def _check_run(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    differ = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if differ:
        raise ConfigError.say(
            str(path),
            f"was written by a run of other {show(differ)}: {theirs.get(differ[0])}, "
            f"expected {ours.get(differ[0])}",
            hint="train into another folder, or remove this one to begin anew",
        )


def _check_shapes(path: Path, modules: Modules, tensors: Mapping[str, Tensor]) -> None:
    ours = {
        f"{name}/{key}": tuple(value.shape)
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    theirs = {
        name: tuple(value.shape)
        for name, value in tensors.items()
        if not name.startswith(f"{OPTIMISER}/")
    }
    differ = sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    if differ:
        first = differ[0]
        raise ModelError.say(
            str(path),
            f"holds another architecture: {len(differ)} tensors differ, the first is {first}: "
            f"{theirs.get(first, 'absent')}, expected {ours.get(first, 'absent')}",
            hint="train into another folder, or give the recipe the model it was made with",
        )
