"""A transformer of Hugging Face as the trunk: BERT-like, or a language model unmasked.

The mask is given whole, so that a causal model attends in both directions (arXiv
2510.12709, section 3: bidirectional attention), whatever its own default is. Positions
count the tokens that are there: padding moves nothing.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from sail_features.encoders.checkpoints import find_checkpoint, load_unpacked, read_json
from sail_features.encoders.omni.trunk import attention_bias
from sail_features.errors import ModelError

MODEL_TYPES: Final = ("bert", "llama", "mistral", "qwen2", "qwen3", "roberta", "xlm-roberta")
"""Those that are tested; others may count positions or build masks in their own way."""
POSITIONS_AFTER_PADDING: Final = ("roberta", "xlm-roberta")
"""Their first position is the one after the padding token's id."""


class Backbone(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A model of transformers, called with tokens that are vectors already."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # nothing reads it
        self.model = model
        config = model.config
        after_padding = config.model_type in POSITIONS_AFTER_PADDING
        self.first_position = config.pad_token_id + 1 if after_padding else 0
        self.most_tokens = config.max_position_embeddings - self.first_position

    @property
    def width(self) -> int:
        """Length of a hidden state."""
        return int(self.model.config.hidden_size)

    @property
    def table(self) -> nn.Embedding:
        """The token embeddings."""
        return self.model.get_input_embeddings()

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the last hidden states, shape (B, n, width); ``mask`` is (B, n), bool.

        Raises
        ------
        ModelError
            More tokens than it has positions for.
        """
        if tokens.shape[1] > self.most_tokens:
            raise ModelError.say(
                f"backbone {self.model.config.model_type}",
                f"got {tokens.shape[1]} tokens an item, expected {self.most_tokens} at most",
                hint="lower max_text_tokens, or give towers queries that stand for their tokens",
            )
        positions = (mask.cumsum(1) - 1).clamp(min=0) + self.first_position
        states: Tensor = self.model(
            inputs_embeds=tokens,
            attention_mask=attention_bias(mask, tokens.dtype),
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state
        return states

    def recompute(self, on: bool) -> None:
        """Keep no activations inside layers while training, and compute them twice."""
        # transformers calls it activation checkpointing since 5.23, and warns of the old name.
        renamed = hasattr(self.model, "activation_checkpointing_enable")
        name = "activation_checkpointing" if renamed else "gradient_checkpointing"
        if on:
            getattr(self.model, f"{name}_enable")({"use_reentrant": False})
        else:
            getattr(self.model, f"{name}_disable")()


def load_backbone(name: str) -> Backbone:
    """Return the backbone with its trained weights.

    Parameters
    ----------
    name : a local folder or a Hugging Face id that is in the local cache.

    Raises
    ------
    ModelError
        No such model, or of a type that is none of `MODEL_TYPES`.
    """
    from transformers import AutoModel

    folder = find_checkpoint(name)
    _check_type(name, read_json(folder / "config.json").get("model_type"))
    model = load_unpacked(AutoModel, folder, unused="pooler.")
    return Backbone(model.requires_grad_(True))


def build_backbone(config: dict[str, Any]) -> Backbone:
    """Return a backbone of this configuration with random weights.

    Raises
    ------
    ModelError
        The type of the model is none of `MODEL_TYPES`.
    """
    from transformers import AutoConfig, AutoModel

    _check_type("backbone", config.get("model_type"))
    built = AutoModel.from_config(AutoConfig.for_model(**config), dtype=torch.float32)
    return Backbone(built)


def _check_type(name: str, model_type: object) -> None:
    if model_type not in MODEL_TYPES:
        raise ModelError.not_found(
            name, f"its model_type {model_type!r} is none of {', '.join(MODEL_TYPES)}"
        )
