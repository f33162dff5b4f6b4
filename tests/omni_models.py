"""Small omni-modal models with random weights, and the tiny towers in front of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import save_clap, save_clip

from sail_features.config import EncoderConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.omni.folder import save_omni
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import OmniSettings, from_preset

DIMS = {"audio": 24, "vision": 16, "text": 32}
SMALL = {"hidden": 24, "heads": 4, "matryoshka": (8, 16, 24)}
BACKBONE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 200,
    "max_position_embeddings": 96,
}  # fmt: skip


def random_inputs(items: int = 12, *, seed: int = 0, **dims: int) -> ItemInputs:
    """Return vectors of all modalities for items 0, 1, ...; a third lacks each at random."""
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=(items, dim)) for name, dim in (dims or DIMS).items()}
    for array in arrays.values():
        array[rng.random(items) < 1 / 3] = np.nan
    first = next(iter(arrays.values()))
    first[np.isnan(first).all(axis=1)] = rng.normal(size=first.shape[1])
    return ItemInputs.from_arrays(np.arange(items), arrays)


def random_model(settings: OmniSettings, *, seed: int = 0) -> OmniModel:
    """Return a model whose branches are drawn too, as if it had been trained."""
    torch.manual_seed(seed)
    model = OmniModel(settings)
    with torch.no_grad():
        for weight in model.trunk.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def small_settings(inputs: ItemInputs, **changes: Any) -> OmniSettings:
    """Return settings of a model of 24 numbers that reads these inputs."""
    return inputs.bind(from_preset("tiny", **{**SMALL, **changes}))


def save_towers(folder: Path) -> dict[str, dict[str, Any]]:
    """Save CLIP and CLAP below ``folder``; return towers that read them, and hashed words."""
    save_clip(folder / "clip")
    save_clap(folder / "clap")
    towers: dict[str, dict[str, Any]] = {
        "audio": {"kind": "audio", "model": str(folder / "clap"), "dim": 24},
        "vision": {"kind": "vision", "model": str(folder / "clip"), "dim": 16},
        "text": {"kind": "hash", "dim": 32},
    }
    for tower in towers.values():
        config = EncoderConfig(kind=tower["kind"], model=tower.get("model"), dim=tower["dim"])
        tower["encoder_id"] = build_encoder(config).encoder_id
    return towers


def save_model(folder: Path, towers: dict[str, Any], **changes: Any) -> OmniModel:
    """Save a small random model in front of these towers, and return it."""
    settings = from_preset("tiny", **{**SMALL, **changes}, towers=towers)
    model = random_model(settings)
    save_omni(model, folder, trained_until=None, lineage={})
    return model
