"""Builds the encoder that ``sail.yaml`` names."""

from __future__ import annotations

from sail_features.config import EncoderConfig
from sail_features.encoders.devices import Placement, place
from sail_features.encoders.hashing import HashEncoder
from sail_features.encoders.media import MediaReader
from sail_features.encoders.protocol import Encoder
from sail_features.errors import ConfigError


def build_encoder(config: EncoderConfig, placement: Placement | None = None) -> Encoder:
    """Return the encoder, with weights found but not yet loaded.

    Parameters
    ----------
    config : on a cluster, resolved by `devices.resolve_encoder_config` first.
    placement : of this process; None is the CPU.

    Raises
    ------
    ModelError
        The model can't be found.
    ConfigError
        An encoder that needs a model and has none, or files of a modality that the
        model doesn't read.
    """
    if config.kind == "hash":
        return HashEncoder(config.dim)
    placed = placement or place(config)
    if config.kind == "transformer_text":
        from sail_features.encoders.transformer_text import TransformerTextEncoder

        return TransformerTextEncoder(
            config.model,
            max_tokens=config.max_tokens,
            prompt=config.prompt,
            placement=placed,
            backend=config.backend,
        )
    if config.model is None:
        raise ConfigError.say(
            "encoder.model",
            f"the {config.kind} encoder has no built-in model",
            hint="give a folder, or a Hugging Face id that is in the local cache",
        )
    reader = MediaReader(config.media_root, config.max_media_bytes)
    if config.kind == "sail":
        return _build_omni(config, config.model, reader, placed)
    if config.kind == "vision":
        from sail_features.encoders.vision import VisionEncoder

        return VisionEncoder(config.model, reader=reader, placement=placed)
    from sail_features.encoders.audio import AudioEncoder

    return AudioEncoder(config.model, reader=reader, placement=placed)


def _build_omni(
    config: EncoderConfig, model: str, reader: MediaReader, placement: Placement
) -> Encoder:
    from sail_features.encoders.omni.encoder import OmniEncoder

    encoder = OmniEncoder(model, reader=reader, placement=placement)
    for modality, column in config.media_columns.items():
        if modality not in encoder.settings.modalities:
            raise ConfigError.say(
                f"encoder.{config.content_columns[column]}",
                f"names {column!r}, but {model} reads {', '.join(encoder.settings.modalities)}",
                hint=f"leave it out, or train a model with a tower for {modality}",
            )
    return encoder
