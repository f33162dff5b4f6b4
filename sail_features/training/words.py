"""What a model of text tokens reads beside the towers' vectors: items' texts, and instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sail_features.embeddings import rows_among
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.prompts import build_prompt, instruction_of, load_tokenizer
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.manifest import sha256_of


@dataclass(frozen=True)
class Words:
    """The texts of a catalogue, and the model that will read them.

    Parameters
    ----------
    item_ids : shape (items,), ascending; those with a text.
    texts : one an item.
    settings : of the model.
    saved : folder of the model to start from, which has the tokenizer; None takes that of
        the settings.
    """

    item_ids: NDArray[Any]
    texts: Sequence[str]
    settings: OmniSettings
    saved: Path | None = None

    @cached_property
    def digest(self) -> str:
        """Of all texts."""
        return sha256_of([self.item_ids.tolist(), list(self.texts)])

    def add_to_items(self, inputs: ItemInputs) -> ItemInputs:
        """Return the catalogue's inputs with the items' words."""
        rows = rows_among(inputs.item_ids, self.item_ids).tolist()
        return self.add_to(inputs, [self.texts[row] if row >= 0 else None for row in rows])

    def add_to(self, inputs: ItemInputs, texts: Sequence[str | None]) -> ItemInputs:
        """Return inputs with the words of these texts, one of each row, told as it serves."""
        return inputs.with_texts(texts, self.settings, folder=self.saved)

    def tell(self, inputs: ItemInputs, task: str, side: str) -> ItemInputs:
        """Return inputs whose instruction is that of a task's side."""
        tokenizer = load_tokenizer(self.settings, self.saved)
        return replace(inputs, prompt=build_prompt(tokenizer, instruction_of(task, side)))
