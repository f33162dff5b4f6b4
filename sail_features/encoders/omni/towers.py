"""The frozen towers at work: for training where no table has their vectors, and for serving.

When a model serves they are the encoders that made the vectors of its training, held to
their ids; and what they give is rounded as tables are, so that an item has the same
inputs in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sail_features.embeddings import normalise
from sail_features.encoders.batching import iter_batches
from sail_features.encoders.budget import default_budget
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import ON_CPU, Placement
from sail_features.encoders.media import BYTES_ONLY, MediaReader
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.runs import Runs
from sail_features.encoders.omni.settings import TEXT, OmniSettings, Tower
from sail_features.encoders.protocol import Content, Encoder, Prepared, Refusal
from sail_features.errors import InputError, ModelError


class TowerReader:
    """One tower's encoder, and which of its outputs the model reads."""

    def __init__(self, tower: Tower, encoder: Encoder) -> None:
        self.tower, self.encoder = tower, encoder

    def prepare(self, contents: Sequence[Content]) -> list[Prepared | Refusal]:
        """Decode or tokenise; also refused is what has more vectors than the model reads."""
        prepared = self.encoder.prepare(contents)
        if self.tower.reads == "pooled":
            return prepared
        return [self._refuse_many(one) or one for one in prepared]

    def _refuse_many(self, prepared: Any) -> Refusal | None:
        if isinstance(prepared, Refusal):
            return prepared
        each = self.encoder.frame_tokens if self.tower.reads == "patches" else 1  # type: ignore[attr-defined]
        most = self.tower.tokens // each
        reason = f"more than {most} frames (tokens: {self.tower.tokens}, {each} a frame)"
        return Refusal(reason) if len(prepared) > most else None

    def cost(self, prepared: Prepared) -> int:
        """Return the tower's work in tokens."""
        return self.encoder.cost(prepared)

    def read(self, prepared: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Return each item's unit vectors, shape (n, dim), in float16's precision."""
        costs = [self.encoder.cost(one) for one in prepared]
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(prepared)
        for rows in iter_batches(costs, default_budget(self.encoder.device)):
            for row, vectors in zip(rows, self._forward([prepared[r] for r in rows]), strict=True):
                found[row] = normalise(vectors).astype(np.float16).astype(np.float32)
        return found

    def _forward(self, batch: Sequence[Prepared]) -> Sequence[NDArray[np.float32]]:
        if self.tower.reads == "pooled":
            return list(self.encoder.forward(batch)[:, None])
        patches = self.tower.reads == "patches"
        return self.encoder.forward_parts(batch, patches=patches)  # type: ignore[attr-defined, no-any-return]


def open_tower(
    name: str, tower: Tower, folder: Path, *, reader: MediaReader, placement: Placement
) -> TowerReader:
    """Return a tower with its weights found but not yet loaded.

    Raises
    ------
    ModelError
        It can't be found, or isn't the one that the model was trained with.
    """
    config = tower.encoder_config(folder=folder, reader=reader)
    encoder = build_encoder(config, replace(placement, dtype=tower.dtype))
    if tower.encoder_id not in (None, encoder.encoder_id):
        raise ModelError.say(
            f"model {folder}, {name} tower",
            f"it was trained on vectors of {tower.encoder_id}, and {tower.model or 'MiniLM'} "
            f"is {encoder.encoder_id} now",
            hint="restore the checkpoint that it was trained with, or train it on this one",
        )
    return TowerReader(tower, encoder)


def read_inputs(
    settings: OmniSettings,
    item_ids: NDArray[Any],
    contents: Sequence[Content],
    *,
    reader: MediaReader = BYTES_ONLY,
    placement: Placement = ON_CPU,
) -> ItemInputs:
    """Run the towers over a catalogue in this process, for training.

    For catalogues that fit in memory; vectors of larger ones are kept in tables
    (`ItemInputs.from_tables`).

    Parameters
    ----------
    item_ids : sorted.
    contents : one an item, as `encoder` describes them.

    Raises
    ------
    InputError
        A part of an item can't be read.
    """
    vectors, encoder_ids = {}, {}
    for name, tower in settings.towers.items():
        opened = open_tower(name, tower, Path(), reader=reader, placement=placement)
        parts = [part_of(content, name) for content in contents]
        vectors[name] = Runs.of(_read_all(opened, parts, item_ids))
        encoder_ids[name] = opened.encoder.encoder_id
    inputs = ItemInputs(item_ids, vectors, encoder_ids)
    if not settings.text_tokens:
        return inputs
    return inputs.with_texts([part_of(content, TEXT) for content in contents], settings)


def part_of(content: Content, modality: str) -> Content | None:
    """Return one modality of an item, None where it is absent or blank."""
    part = content.get(modality) if isinstance(content, Mapping) else None
    blank = part is None or (isinstance(part, str) and not part.strip())
    return None if blank or (isinstance(part, list | tuple) and not part) else part


def read_windows(
    tower: TowerReader, contents: Sequence[Content]
) -> Iterator[list[NDArray[np.float32] | Refusal]]:
    """Yield the vectors of all contents in their order, as many at a time as fit in memory."""
    for start in range(0, len(contents), tower.encoder.window_rows):
        prepared = tower.prepare(contents[start : start + tower.encoder.window_rows])
        good = [one for one in prepared if not isinstance(one, Refusal)]
        read = iter(tower.read(good))
        yield [one if isinstance(one, Refusal) else next(read) for one in prepared]


def _read_all(
    tower: TowerReader, parts: Sequence[Content | None], item_ids: NDArray[Any]
) -> list[NDArray[np.float16]]:
    """Return each item's vectors; none where it lacks the part."""
    found = [np.empty((0, tower.tower.dim), np.float16)] * len(parts)
    there = [row for row, part in enumerate(parts) if part is not None]
    windows = read_windows(tower, [parts[row] for row in there])
    for row, vectors in zip(there, chain.from_iterable(windows), strict=True):
        if isinstance(vectors, Refusal):
            raise InputError.say(
                f"item {item_ids[row]}", vectors.reason, hint="mend the file, or leave it out"
            )
        found[row] = vectors.astype(np.float16)
    return found
