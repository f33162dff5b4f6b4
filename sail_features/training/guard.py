"""Keeps what a step trained on when its loss isn't finite, so that it can be looked at."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from sail_features.training.checkpoint import Modules

FAILED: Final = "failed_step"


def save_failed_step(
    folder: Path, modules: Modules, drawn: object, facts: Mapping[str, Any]
) -> Path:
    """Write the batch, the weights before the step and the facts; return their folder."""
    target = folder / FAILED
    target.mkdir(parents=True, exist_ok=True)
    batch = {name: value.clone().contiguous() for name, value in _iter_arrays("drawn", drawn)}
    save_file(batch, target / "batch.safetensors")
    weights = {
        f"{name}/{key}": value.detach().cpu().clone()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    save_file(weights, target / "weights.safetensors")
    text = json.dumps(facts, indent=2)
    (target / "step.json").write_text(text + "\n", encoding="utf-8")
    return target


def _iter_arrays(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    """Yield all numbers of a draw, named by the way to them."""
    if isinstance(value, Tensor):
        yield name, value.detach().cpu()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield name, torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _iter_arrays(f"{name}.{key}", part)
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            yield from _iter_arrays(f"{name}.{place}", part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _iter_arrays(f"{name}.{field.name}", getattr(value, field.name))
