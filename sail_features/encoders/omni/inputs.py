"""What the model reads of every item of a catalogue, prepared once.

Frozen towers run once, in the Spark job; training then takes rows of their cached
outputs, which costs microseconds an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from sail_features.embeddings import EmbeddingTable, normalise, rows_among
from sail_features.encoders.omni.batch import OmniBatch, Prompt
from sail_features.encoders.omni.parts import PartTable
from sail_features.encoders.omni.prompts import build_prompt, load_tokenizer, tokenise_all
from sail_features.encoders.omni.runs import Runs
from sail_features.encoders.omni.settings import MODALITIES, TEXT, OmniSettings, Tower
from sail_features.errors import InputError, ModelError

TowerTable: TypeAlias = EmbeddingTable | PartTable
"""What a tower made of items: a vector each, or several."""


@dataclass(frozen=True)
class ItemInputs:
    """The inputs of a catalogue's items.

    Parameters
    ----------
    item_ids : shape (items,), strictly ascending.
    vectors : modality to its tower's vectors.
    encoder_ids : modality to what made them; absent where that isn't known.
    text_ids : token ids of the texts, where the model reads them.
    prompt : put around every item that is taken; `dataclasses.replace` gives another task's.
    """

    item_ids: NDArray[Any]
    vectors: Mapping[str, Runs]
    encoder_ids: Mapping[str, str]
    text_ids: Runs | None = None
    prompt: Prompt | None = None

    def __post_init__(self) -> None:
        """Check what training relies on."""
        if not bool(np.all(self.item_ids[1:] > self.item_ids[:-1])):
            raise InputError.say("item inputs", "ids repeat or aren't sorted", hint="sort them")
        for name in (*self.vectors, *([] if self.text_ids is None else ["text tokens"])):
            runs = self.text_ids if name == "text tokens" else self.vectors[name]
            if runs is None or len(runs.counts) != len(self.item_ids) or not runs.counts.any():
                count = 0 if runs is None else len(runs.counts)
                raise InputError.say(
                    f"item inputs: {name}",
                    f"{count} runs for {len(self.item_ids)} items, or none that holds anything",
                    hint="give one run an item, and leave out a modality that no item has",
                )

    @classmethod
    def from_tables(
        cls, tables: Mapping[str, TowerTable], item_ids: NDArray[Any] | None = None
    ) -> Self:
        """Build them from one table of tower vectors a modality.

        Parameters
        ----------
        item_ids : sorted; None takes every item of any table.
        """
        known = [table.ids for table in tables.values()]
        ids = np.unique(np.concatenate(known)) if item_ids is None else item_ids
        vectors = {
            name: _runs_of(table).select(table.rows_of(ids)) for name, table in tables.items()
        }
        return cls(ids, vectors, {name: table.encoder_id for name, table in tables.items()})

    @classmethod
    def from_arrays(cls, item_ids: NDArray[Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build them from one vector an item and modality, (items, d); a row of NaN is none."""
        vectors = {}
        for name, array in arrays.items():
            unit = normalise(np.asarray(array))
            there = np.isfinite(unit[:, 0])  # `normalise` gives whole rows of NaN
            vectors[name] = Runs(unit, np.arange(len(unit), dtype=np.int64), there.astype(np.int64))
        return cls(item_ids, vectors, {})

    def with_texts(
        self, texts: Sequence[str | None], settings: OmniSettings, *, folder: Path | None = None
    ) -> Self:
        """Return the inputs with the items' texts as tokens, and the settings' instruction.

        Parameters
        ----------
        texts : one an item; None and blank ones are missing.
        folder : of a saved model, whose tokenizer it is; None takes that of the settings.
        """
        tokenizer = load_tokenizer(settings, folder)
        ids = tokenise_all(tokenizer, texts, settings.max_text_tokens)
        prompt = build_prompt(tokenizer, settings.instruction)
        return replace(self, text_ids=Runs.of(ids), prompt=prompt)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.item_ids)

    @cached_property
    def has(self) -> dict[str, NDArray[np.bool_]]:
        """Modality to which items have it, shape (items,)."""
        found = {name: runs.counts > 0 for name, runs in self.vectors.items()}
        if self.text_ids is not None:
            found[TEXT] = found.get(TEXT, False) | (self.text_ids.counts > 0)
        return found

    def rows_of(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each id, -1 where the item isn't known."""
        return rows_among(ids, self.item_ids)

    def take(self, rows: NDArray[np.int64]) -> OmniBatch:
        """Return the batch of some items, in the order given."""
        features, masks = {}, {}
        for name, runs in self.vectors.items():
            values, there = runs.take(rows)
            features[name] = torch.from_numpy(values.astype(np.float32))
            masks[name] = torch.from_numpy(there)
        ids = mask = None
        if self.text_ids is not None:
            found, there = self.text_ids.take(rows)
            ids, mask = torch.from_numpy(found.astype(np.int64)), torch.from_numpy(there)
        return OmniBatch(features, masks, ids, mask, self.prompt)

    def bind(self, settings: OmniSettings) -> OmniSettings:
        """Return the settings with what these inputs tell of the towers: size and encoder.

        A modality that the settings name no tower for gets one of kind ``given``.

        Raises
        ------
        ModelError
            A tower of the settings has another size, another encoder, or no vectors here;
            or text tokens are to be read, and there are none.
        """
        towers = {
            name: self._bind_tower(name, settings) for name in MODALITIES if name in self.vectors
        }
        lacking = sorted(set(settings.towers) - set(towers))
        if lacking:
            raise _mismatch(f"towers.{lacking[0]}", "a tower", "no vectors among the inputs")
        if settings.text_tokens and self.text_ids is None:
            raise _mismatch("text_tokens", "texts", "no token ids among the inputs (with_texts)")
        return settings.model_copy(update={"towers": towers})

    def _bind_tower(self, name: str, settings: OmniSettings) -> Tower:
        runs, encoder_id = self.vectors[name], self.encoder_ids.get(name)
        dim, most = runs.values.shape[1], int(runs.counts.max())
        declared = settings.towers.get(name) or Tower(dim=dim, tokens=most)
        if declared.dim != dim:
            raise _mismatch(
                f"towers.{name}", f"vectors of {declared.dim} numbers", f"vectors of {dim}"
            )
        if declared.tokens < most:
            raise _mismatch(
                f"towers.{name}", f"{declared.tokens} tokens an item at most", f"{most}"
            )
        if declared.encoder_id not in (None, encoder_id):
            raise _mismatch(f"towers.{name}", f"encoder {declared.encoder_id}", f"{encoder_id}")
        return declared.model_copy(update={"encoder_id": encoder_id})


def _runs_of(table: TowerTable) -> Runs:
    if isinstance(table, PartTable):
        return table.runs
    return Runs.by_counts(table.vectors, np.ones(len(table), np.int64))


def _mismatch(setting: str, declared: str, found: str) -> ModelError:
    return ModelError.say(
        f"model.{setting}",
        f"expected {declared}, got {found}",
        hint="name what the inputs were made with, or make them with what is named",
    )
