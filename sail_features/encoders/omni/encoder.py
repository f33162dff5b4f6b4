"""A trained omni-modal model as an encoder: items with text, images and sound, or some of it.

A content is a mapping of modality to what its tower reads: ``{"text": "...", "vision":
path, bytes or frames, "audio": path or bytes}``. What is absent or blank is missing; a
file that can't be read is no lack but a fault, and the item is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.checkpoints import (
    SHORT_DTYPES,
    find_checkpoint,
    name_checkpoint,
)
from sail_features.encoders.cpu_kernels import pack_linears
from sail_features.encoders.devices import ON_CPU, Placement
from sail_features.encoders.media import BYTES_ONLY, MediaReader
from sail_features.encoders.omni.folder import SavedModel, load_omni, read_saved
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.joint import AnyModel, part_model
from sail_features.encoders.omni.prompts import build_prompt, load_tokenizer, tokenise_all
from sail_features.encoders.omni.runs import Runs
from sail_features.encoders.omni.settings import TEXT
from sail_features.encoders.omni.towers import TowerReader, open_tower, part_of
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.encoders.protocol import Content, Prepared, Refusal
from sail_features.encoders.texts import refuse_text
from sail_features.errors import ModelError

NOTHING: Final = "nothing that the model reads"
WINDOW_ROWS: Final = 4096
"""At most, where no tower asks for fewer."""


@dataclass(frozen=True)
class _Item:
    """An item's prepared parts by tower, and its text's tokens, of which there may be none."""

    parts: Mapping[str, Prepared]
    text_ids: NDArray[np.int64]


class OmniEncoder:
    """A saved model behind the towers that it was trained with.

    Parameters
    ----------
    model : a folder that `folder.save_omni` wrote.
    reader : where media files may lie.
    placement : device and dtype. Towers compute in the dtype of the training; the trunk
        in this one, where bf16 is torch's autocast.

    Raises
    ------
    ModelError
        No such model, one of another kind, or towers that aren't those of the training.
    """

    def __init__(
        self, model: str, *, reader: MediaReader = BYTES_ONLY, placement: Placement = ON_CPU
    ) -> None:
        self.saved = read_saved(find_checkpoint(model))
        self.settings, self.placement = self.saved.settings, placement
        self.dim = self.settings.dim
        self.towers = _open_towers(self.saved, reader, placement)
        rows = (tower.encoder.window_rows for tower in self.towers.values())
        self.window_rows = min([WINDOW_ROWS, *rows])

    @cached_property
    def encoder_id(self) -> str:
        """Name, training time, dtype, and a digest of weights, settings and towers' ids."""
        until = self.trained_until
        parts = [f"until{until:%Y%m%d}"] if until else []
        dtype = SHORT_DTYPES[self.placement.dtype]
        return name_checkpoint(self.saved.folder, {}, *parts, dtype)

    @property
    def trained_until(self) -> datetime | None:
        """No interaction at or after this moment was trained on; None: none at all."""
        return self.saved.trained_until

    @property
    def device(self) -> str:
        """Where `forward` computes."""
        return self.placement.device

    @cached_property
    def _model(self) -> AnyModel:
        import torch

        if self.placement.threads:
            torch.set_num_threads(self.placement.threads)
        model: AnyModel = load_omni(self.saved.folder).eval().requires_grad_(False).to(self.device)
        if self.placement.dtype == "float32" and self.device == "cpu":
            _pack_backbone(model)
        return model

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.settings, self.saved.folder)

    @cached_property
    def _prompt(self) -> Any:
        instruction = self.settings.instruction
        return build_prompt(self._tokenizer, instruction) if instruction else None

    def prepare(self, contents: Sequence[Content]) -> list[_Item | Refusal]:
        """Decode and tokenise all parts; an item with a faulty part is refused."""
        parts = {name: self._prepare_part(name, contents) for name in self.towers}
        texts = [part_of(content, TEXT) for content in contents]
        faults = [refuse_text(text) if text is not None else None for text in texts]
        ids = self._tokenise(
            [None if fault else text for text, fault in zip(texts, faults, strict=True)]
        )
        if self.settings.text_tokens:
            parts["text tokens"] = faults
        return [
            _collect({name: part[row] for name, part in parts.items()}, ids[row])
            for row in range(len(contents))
        ]

    def _tokenise(self, texts: Sequence[str | None]) -> list[NDArray[np.int64]]:
        if not self.settings.text_tokens:
            return [np.empty(0, np.int64)] * len(texts)
        return tokenise_all(self._tokenizer, texts, self.settings.max_text_tokens)

    def _prepare_part(
        self, name: str, contents: Sequence[Content]
    ) -> list[Prepared | Refusal | None]:
        """Return one modality of each item, None where it is missing."""
        sources = [part_of(content, name) for content in contents]
        there = [row for row, source in enumerate(sources) if source is not None]
        found: list[Prepared | Refusal | None] = [None] * len(contents)
        prepared = self.towers[name].prepare([sources[row] for row in there]) if there else []
        for row, one in zip(there, prepared, strict=True):
            found[row] = one
        return found

    def cost(self, prepared: _Item) -> int:
        """Return the work of its towers, and of its text in the trunk, in tokens."""
        of_towers = sum(self.towers[name].cost(part) for name, part in prepared.parts.items())
        return of_towers + len(prepared.text_ids)

    def forward(self, batch: Sequence[_Item]) -> NDArray[np.float32]:
        """Return the fused vectors, shape (len(batch), dim)."""
        import torch

        rows = np.arange(len(batch))
        inputs = ItemInputs(rows, self._read_towers(batch), {}, _ids_of(batch), self._prompt)
        half = self.placement.dtype == "bfloat16"
        kind = self.device.partition(":")[0]
        computing = torch.autocast(kind, torch.bfloat16) if half else nullcontext()
        with torch.inference_mode(), computing:
            fused = self._model(inputs.take(rows).to(self.device)).fused
        vectors: NDArray[np.float32] = fused.cpu().numpy()
        return vectors

    def _read_towers(self, batch: Sequence[_Item]) -> dict[str, Runs]:
        """Return the towers' vectors, of those modalities that any item of the batch has."""
        found = {}
        for name, tower in self.towers.items():
            has = [row for row, item in enumerate(batch) if name in item.parts]
            if not has:
                continue
            vectors = [np.empty((0, tower.tower.dim), np.float32)] * len(batch)
            for row, part in zip(
                has, tower.read([batch[row].parts[name] for row in has]), strict=True
            ):
                vectors[row] = part
            found[name] = Runs.of(vectors)
        return found

    def load(self) -> None:
        """Read all weights and preprocessing, if that isn't done yet."""
        _ = self._model, self._prompt
        for tower in self.towers.values():
            tower.encoder.load()

    def encode(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """Return shape (len(contents), dim), rows of length 1."""
        return encode_or_raise(self, contents)


def _pack_backbone(model: AnyModel) -> None:
    """Let a backbone compute by oneDNN, as the towers do."""
    import torch

    if model.settings.backbone is not None:
        pack_linears(part_model(model, "content").trunk.model, torch.float32)


def _open_towers(
    saved: SavedModel, reader: MediaReader, placement: Placement
) -> dict[str, TowerReader]:
    found = {}
    for name, tower in saved.settings.towers.items():
        found[name] = open_tower(name, tower, saved.folder, reader=reader, placement=placement)
        if tower.encoder_id is None:
            raise ModelError.say(
                f"model {saved.folder}, {name} tower",
                "nobody wrote down which encoder made the vectors of its training",
                hint="bind the settings to the inputs (ItemInputs.bind) before training",
            )
    return found


def _collect(parts: Mapping[str, Prepared | Refusal | None], ids: NDArray[np.int64]) -> Any:
    """Return an item of the parts that are there, or why it is refused."""
    for name, part in parts.items():
        if isinstance(part, Refusal):
            return Refusal(f"{name}: {part.reason}")
    there = {name: part for name, part in parts.items() if part is not None}
    return _Item(there, ids) if there or len(ids) else Refusal(NOTHING)


def _ids_of(batch: Sequence[_Item]) -> Runs | None:
    ids = [item.text_ids for item in batch]
    return Runs.of(ids) if any(map(len, ids)) else None
