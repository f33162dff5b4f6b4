"""Builds the encoder that ``sail.yaml`` names."""

from __future__ import annotations

from sail_features.config import EncoderConfig
from sail_features.encoders.hashing import HashEncoder
from sail_features.encoders.protocol import TextEncoder


def build_encoder(config: EncoderConfig) -> TextEncoder:
    """Return the encoder, with weights found but not yet loaded.

    Raises
    ------
    ModelError
        The model can't be found.
    """
    if config.kind == "hash":
        return HashEncoder(config.dim)
    from sail_features.encoders.transformer_text import TransformerTextEncoder

    return TransformerTextEncoder(
        config.model, max_tokens=config.max_tokens, tokens_per_batch=config.tokens_per_batch
    )
