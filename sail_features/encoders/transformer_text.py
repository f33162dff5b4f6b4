"""Any Hugging Face text model as an encoder: mean or CLS pooling, unit length.

Attention masks make a vector independent of its batch up to float rounding (below 1e-6
in cosine at float32, 1e-3 at bfloat16); pooling is always in float32.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.checkpoints import (
    SHORT_DTYPES,
    find_checkpoint,
    find_minilm,
    load_model,
    load_part,
    name_checkpoint,
    read_json,
    read_size,
)
from sail_features.encoders.devices import ON_CPU, Placement
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.encoders.protocol import Refusal
from sail_features.encoders.texts import refuse_text
from sail_features.errors import ConfigError, ModelError

_DIM_KEYS: Final = ("hidden_size", "dim", "d_model")
"""What BERT, DistilBERT and T5 call the size of a hidden layer."""
_POOLINGS: Final = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "mean": "mean",
    "cls": "cls",
}
"""As sentence-transformers wrote them until version 5, and since."""
_KNOWN_MODULES: Final = ("Transformer", "Pooling", "Normalize")


class TransformerTextEncoder:
    """A frozen transformer with pooling.

    Parameters
    ----------
    model : a local folder or a Hugging Face id that is in the local cache; None
        takes the MiniLM of `find_minilm`.
    max_tokens : longer texts are cut.
    prompt : put before every text, as instruction-tuned models want it.
    placement : device and dtype; the CPU in float32 by default.
    backend : ``torch``, or ``openvino`` (a CPU only; its package is an extra).

    Raises
    ------
    ModelError
        No such model, no safetensors, a configuration that can't be read, or a pooling
        that is neither the mean nor CLS.
    ConfigError
        ``max_tokens`` is more than the model has positions for.

    Notes
    -----
    Pooling is read from a sentence-transformers ``1_Pooling/config.json`` where
    there is one, and is the mean over real tokens otherwise. Weights are loaded
    on the first `forward`, so that building an encoder to ask its id is cheap.
    """

    trained_until: datetime | None = None
    window_rows: int = 32_768

    def __init__(
        self,
        model: str | None = None,
        *,
        max_tokens: int = 128,
        prompt: str = "",
        placement: Placement = ON_CPU,
        backend: str = "torch",
    ) -> None:
        self.folder = find_minilm() if model is None else find_checkpoint(model)
        self.max_tokens, self.prompt = max_tokens, prompt
        self.placement, self.backend = placement, backend
        self._config = read_json(self.folder / "config.json")
        self.pooling = _read_pooling(self.folder)
        self.dim = read_size(self._config, _DIM_KEYS, self.folder)
        _check_length(self._config, self.folder, max_tokens)

    @cached_property
    def encoder_id(self) -> str:
        """Name, pooling, length, dtype and a digest of weights, tokenizer and prompt."""
        dtype = SHORT_DTYPES[self.placement.dtype]
        dtype = dtype if self.backend == "torch" else f"{self.backend}_{dtype}"
        parts = (self.pooling, f"{self.max_tokens}t", dtype)
        return name_checkpoint(self.folder, self._config, *parts, extra=self.prompt)

    @property
    def device(self) -> str:
        """Where `forward` computes."""
        return self.placement.device

    @cached_property
    def _tokenizer(self) -> Any:
        parallel = (self.placement.threads or 1) > 1 or self.device != "cpu"
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if parallel else "false")
        from transformers import AutoTokenizer

        return load_part(AutoTokenizer.from_pretrained, self.folder)

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModel

        if self.backend == "openvino":
            from sail_features.encoders.openvino_text import load_openvino

            return load_openvino(AutoModel, self.folder, self.placement)
        return load_model(AutoModel, self.folder, self.placement, unused="pooler.")

    def prepare(self, contents: Sequence[str]) -> list[NDArray[np.int64] | Refusal]:
        """Tokenise the texts; a text that isn't one is refused."""
        refusals = [refuse_text(text) for text in contents]
        texts = [
            self.prompt + text for text, no in zip(contents, refusals, strict=True) if no is None
        ]
        if not texts:
            return [no for no in refusals if no is not None]
        tokens = iter(
            self._tokenizer(
                texts,
                truncation=True,
                max_length=self.max_tokens,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
        )
        return [no or np.array(next(tokens), np.int64) for no in refusals]

    def cost(self, prepared: NDArray[np.int64]) -> int:
        """Return the number of tokens."""
        return len(prepared)

    def forward(self, batch: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return pooled hidden states, shape (len(batch), dim)."""
        import torch

        width = max(len(tokens) for tokens in batch)
        ids = np.full((len(batch), width), self._tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros((len(batch), width), np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        with torch.inference_mode():
            seen = torch.from_numpy(mask).to(self.device)
            inputs = torch.from_numpy(ids).to(self.device)
            hidden = self._model(input_ids=inputs, attention_mask=seen).last_hidden_state
            vectors: NDArray[np.float32] = self._pool(hidden, seen).cpu().numpy()
        return vectors

    def _pool(self, hidden: Any, seen: Any) -> Any:
        if self.pooling == "cls":
            return hidden[:, 0].float()
        weights = seen.unsqueeze(-1).float()
        return (hidden.float() * weights).sum(1) / weights.sum(1)

    def load(self) -> None:
        """Read weights and preprocessing, if that isn't done yet."""
        _ = self._model, self._tokenizer

    def encode(self, contents: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(contents), dim), rows of length 1."""
        return encode_or_raise(self, contents)


def _check_length(config: dict[str, Any], folder: Path, max_tokens: int) -> None:
    positions = config.get("max_position_embeddings", max_tokens)
    if max_tokens > positions:
        raise ConfigError.say(
            "encoder.max_tokens",
            f"{max_tokens}, but {folder.name} reads {positions} tokens at most",
            hint=f"set it to {positions} or less",
        )


def _read_pooling(folder: Path) -> str:
    """Return ``mean`` or ``cls``, as sentence-transformers' own files say."""
    modules = folder / "modules.json"
    listed: Any = read_json(modules) if modules.is_file() else []
    types = [str(module["type"]).rsplit(".", maxsplit=1)[-1] for module in listed]
    others = sorted(set(types) - set(_KNOWN_MODULES))
    if others:
        raise ModelError.not_found(str(folder), f"its modules.json has {', '.join(others)}")
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    pooling = read_json(path)
    now = pooling.get("pooling_mode", [])
    chosen = [now] if isinstance(now, str) else list(now)
    chosen += [k for k, on in pooling.items() if k.startswith("pooling_mode_") and on]
    if len(chosen) > 1 or not set(chosen) <= set(_POOLINGS):
        raise ModelError.not_found(str(folder), f"its pooling is {', '.join(chosen)}")
    return _POOLINGS[chosen[0]] if chosen else "mean"
