"""Small models of real architectures with random weights, saved as Hugging Face folders.

They load through the same code as real ones; their vectors mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch

VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip


def save_clip(folder: Path) -> None:
    """Save CLIP's image tower with its projection, 16 numbers a vector."""
    torch.manual_seed(0)
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(**VISION, projection_dim=16)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    crop = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    """Save SigLIP's image tower, 32 numbers a vector."""
    torch.manual_seed(0)
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    SiglipVisionModel(SiglipVisionConfig(**VISION)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_whole_clip(folder: Path) -> None:
    """Save a whole CLIP, whose text tower no image needs."""
    torch.manual_seed(0)
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 40, "projection_dim": 16,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    crop = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(folder)


def save_clap(folder: Path) -> None:
    """Save CLAP's audio tower without fusion, 24 numbers a vector."""
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    torch.manual_seed(0)
    config = ClapAudioConfig(
        enable_fusion=False, patch_embeds_hidden_size=16, hidden_size=128, depths=[1] * 4,
        num_attention_heads=[2] * 4, num_hidden_layers=4, spec_size=256, num_mel_bins=64,
        window_size=8, projection_dim=24,
    )  # fmt: skip
    ClapAudioModelWithProjection(config).save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
