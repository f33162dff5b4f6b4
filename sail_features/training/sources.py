"""What the data sets of a recipe are built from: tables, inputs and the events before a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sail_features import columns as c
from sail_features.embeddings import EmbeddingTable
from sail_features.encoders.omni.inputs import ItemInputs, TowerTable
from sail_features.encoders.omni.settings import TEXT
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.encoders.protocol import Encoder
from sail_features.errors import InputError, MissingTableError
from sail_features.history import ids_of
from sail_features.manifest import sha256_of, sha256_of_file
from sail_features.schemas import NUMBER, STRING
from sail_features.tables import TableStore, format_as_of
from sail_features.training.collaborative_ids import IdSettings, train_ids
from sail_features.training.engagements import Engagements, select_engagements
from sail_features.training.item_labels import build_labels
from sail_features.training.pairs import PairDataset
from sail_features.training.recipe import DataRecipe, MinedPairs, OwnParts, PairFile
from sail_features.training.sequences import Sequences
from sail_features.training.words import Words

Ids = NDArray[Any]


class HeldOut(NamedTuple):
    """Pairs that nothing is trained on.

    ``queries``: the catalogue's inputs, or those of texts; ``query`` are rows of them,
    ``target`` rows of the catalogue's, shape (pairs,).
    """

    queries: ItemInputs
    query: NDArray[np.int64]
    target: NDArray[np.int64]


@dataclass(frozen=True)
class Sources:
    """Everything that training may read.

    Parameters
    ----------
    tables : towers' vectors by modality, of items known before ``trained_until``.
    text_encoder : the text tower, which encodes queries; None where there is none.
    trained_until : no event at or after it is trained on.
    as_of : events from ``trained_until`` to here only measure.
    words : the items' texts, where the model reads text tokens; None where it doesn't.
    """

    store: TableStore
    tables: dict[str, TowerTable]
    text_encoder: Encoder | None
    trained_until: datetime
    as_of: datetime
    seed: int = 0
    words: Words | None = None

    @cached_property
    def inputs(self) -> ItemInputs:
        """The catalogue: every item that any tower has a vector of, or that has a text."""
        if self.words is None:
            return ItemInputs.from_tables(self.tables)
        known = [self.words.item_ids, *(table.ids for table in self.tables.values())]
        items = ItemInputs.from_tables(self.tables, np.unique(np.concatenate(known)))
        return self.words.add_to_items(items)

    @cached_property
    def of_towers(self) -> Sources:
        """The same without words: what a behaviour part reads."""
        return self if self.words is None else replace(self, words=None)

    @cached_property
    def engagements(self) -> Engagements:
        """What users did before ``trained_until``."""
        events = self.store.read("events", self.as_of)
        return select_engagements(events, self.inputs.item_ids, trained_until=self.trained_until)

    @cached_property
    def all_engagements(self) -> Engagements:
        """What users did before ``as_of``: for measuring alone."""
        events = self.store.read("events", self.as_of)
        return select_engagements(events, self.inputs.item_ids, trained_until=self.as_of)

    def collaborative_ids(self, settings: IdSettings) -> EmbeddingTable:
        """Return ID embeddings of what users did before ``trained_until``, trained once."""
        if settings not in self._ids:
            self._ids[settings] = train_ids(self.engagements, settings)
        return self._ids[settings]

    @cached_property
    def _ids(self) -> dict[IdSettings, EmbeddingTable]:
        """What `collaborative_ids` has trained."""
        return {}

    @cached_property
    def pairs(self) -> dict[str, PairDataset]:
        """The data sets of pairs that were read already, by name."""
        return {}

    @cached_property
    def sequences(self) -> dict[str, Sequences]:
        """The training sequences that were built already, by the name of their data set."""
        return {}

    @cached_property
    def labels(self) -> csr_array:
        """Which labels each item of the catalogue carried before ``trained_until``."""
        items = self.store.read("items", self.as_of)
        return build_labels(items, self.inputs.item_ids, known_before=self.trained_until)

    def fingerprint(self, data: DataRecipe) -> str:
        """Return a hash of what a data set is read from, besides the inputs."""
        if isinstance(data, PairFile):
            return sha256_of_file(data.file) if data.file.is_file() else ""
        if isinstance(data, MinedPairs):
            parts = self.store.covering(_table_of(data), self.trained_until)
            return sha256_of([manifest.fingerprint for manifest in parts])
        return "" if isinstance(data, OwnParts) else self.engagements.digest

    def read_pairs(self, name: str, data: PairFile) -> PairDataset:
        """Return the pairs of a file, without those held out."""
        rows = _read_pair_file(name, data)
        queries, query_ids = self._side(rows, "query", name)
        targets, target_ids = self._side(rows, "target", name)
        kept = ~self._held_out(query_ids, data.holdout)
        grades = rows["grade"].to_numpy() if "grade" in rows.column_names else None
        return PairDataset.from_ids(
            name,
            self._tell(queries, data, "query"),
            self._tell(targets, data, "target"),
            (query_ids[kept], target_ids[kept]),
            grades=None if grades is None else grades[kept].astype(np.float32),
            query_modalities=data.query_modalities,
            target_modalities=data.target_modalities,
            patterns=data.patterns,
            on_missing=data.on_missing,
        )

    def mined_pairs(self, name: str, data: MinedPairs) -> PairDataset:
        """Return mined pairs, but for those held out and those of items without content."""
        queries, ids = self._read_mined(name, data)
        kept = ~self._held_out(ids[0], data.holdout)
        pairs = (ids[0][kept], ids[1][kept])
        return PairDataset.from_ids(
            name,
            self._tell(queries, data, "query"),
            self._tell(self.inputs, data, "target"),
            pairs,
            patterns=data.patterns,
            on_missing="drop",
        )

    def own_parts(self, name: str, data: OwnParts) -> PairDataset:
        """Return each item with itself."""
        ids = self.inputs.item_ids
        return PairDataset.from_ids(
            name, self.inputs, self.inputs, (ids, ids), patterns=data.patterns, on_missing="drop"
        )

    def held_out(self, name: str, data: PairFile | MinedPairs) -> HeldOut | None:
        """Return the held-out pairs, for measuring; None where there are none."""
        if not data.holdout:
            return None
        if isinstance(data, MinedPairs):
            inputs, ids = self._read_mined(name, data)
        else:
            rows = _read_pair_file(name, data)
            if "grade" in rows.column_names or "target_item_id" not in rows.column_names:
                return None
            inputs, queries = self._side(rows, "query", name)
            ids = (queries, ids_of(rows["target_item_id"]))
        query, target = inputs.rows_of(ids[0]), self.inputs.rows_of(ids[1])
        kept = self._held_out(ids[0], data.holdout) & (query >= 0) & (target >= 0)
        if inputs is not self.inputs:
            inputs = self._tell(inputs, data, "query")
        return HeldOut(inputs, query[kept], target[kept]) if kept.any() else None

    def _read_mined(self, name: str, data: MinedPairs) -> tuple[ItemInputs, tuple[Ids, Ids]]:
        """Return the queries' inputs, and the ids of both sides."""
        try:
            rows = self.store.read(_table_of(data), self.trained_until)
        except MissingTableError as error:
            until = format_as_of(self.trained_until)
            searches = ", on events with a search_query" if data.source == "search" else ""
            raise InputError.say(
                f"data set {name!r}",
                f"nothing was mined until {until}",
                hint=f"run `sail-features pairs --trained-until {until}` first{searches}",
            ) from error
        if data.source == "search":
            texts = ids_of(rows[c.SEARCH_QUERY])
            return self._encode_texts(texts, name, "query"), (texts, ids_of(rows[c.ITEM_ID]))
        rows = rows.filter(pc.equal(rows[c.PAIR_SOURCE], data.source))
        return self.inputs, (ids_of(rows[c.ITEM_ID]), ids_of(rows[c.OTHER_ITEM_ID]))

    def _side(self, rows: pa.Table, side: str, name: str) -> tuple[ItemInputs, Ids]:
        """Return the inputs of one side of a file, and its ids."""
        if f"{side}_item_id" in rows.column_names:
            return self.inputs, ids_of(rows[f"{side}_item_id"])
        texts = ids_of(rows[f"{side}_text"])
        return self._encode_texts(texts, name, side), texts

    def _encode_texts(self, texts: Ids, name: str, side: str) -> ItemInputs:
        """Return the inputs of a side that is texts, encoded once for all stages and measures."""
        if self.text_encoder is None and self.words is None:
            raise InputError.say(
                f"data set {name!r}",
                f"has texts as its {side}, but nothing that the stage trains reads them",
                hint="add towers.text to the recipe's model, or set model.settings.text_tokens, "
                "which a behaviour part doesn't read",
            )
        if (name, side) not in self._encoded:
            distinct = np.unique(texts)
            inputs = ItemInputs(distinct, {}, {})
            if self.text_encoder is not None:
                vectors = encode_or_raise(self.text_encoder, distinct.tolist())
                inputs = ItemInputs.from_arrays(distinct, {TEXT: vectors})
            if self.words is not None:
                inputs = self.words.add_to(inputs, distinct.tolist())
            self._encoded[name, side] = inputs
        return self._encoded[name, side]

    def _tell(self, inputs: ItemInputs, data: PairFile | MinedPairs, side: str) -> ItemInputs:
        """Return a side's inputs with the instruction of the data set's task, if it has one."""
        if data.task is None or self.words is None:
            return inputs
        return self.words.tell(inputs, data.task, side)

    @cached_property
    def _encoded(self) -> dict[tuple[str, str], ItemInputs]:
        """The texts of a data set's side, once they are encoded."""
        return {}

    def _held_out(self, queries: Ids, share: float) -> NDArray[np.bool_]:
        """Return which pairs are held out: all pairs of a random part of the queries."""
        distinct, place = np.unique(queries, return_inverse=True)
        drawn = np.random.default_rng(self.seed).random(len(distinct)) < share
        held: NDArray[np.bool_] = drawn[place]
        return held


def _table_of(data: MinedPairs) -> str:
    return "search_pair" if data.source == "search" else "item_pair"


def _read_pair_file(name: str, data: PairFile) -> pa.Table:
    """Return the rows of a file of pairs, checked; without those that lack a side, if asked."""
    where = f"data set {name!r}, {data.file}"
    if not data.file.is_file():
        raise InputError.say(where, "no such file", hint="paths are relative to the recipe")
    try:
        rows = pq.read_table(data.file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError.file_unreadable(data.file, error, "Parquet") from error
    if not rows.num_rows:
        raise InputError.empty(where)
    for side in ("query", "target"):
        rows = _keep_filled(rows, side, data, where)
    if "grade" in rows.column_names and not NUMBER.accepts(rows["grade"].type):
        raise InputError.wrong_type(where, "grade", rows["grade"].type, NUMBER.word)
    return rows


def _keep_filled(rows: pa.Table, side: str, data: PairFile, where: str) -> pa.Table:
    """Return the rows whose side is named, or refuse the file."""
    named = [n for n in (f"{side}_item_id", f"{side}_text") if n in rows.column_names]
    if not named:
        raise InputError.say(
            where,
            f"has neither {side}_item_id nor {side}_text, but {', '.join(rows.column_names)}",
            hint="rename the column that says what is sought or found",
        )
    column = rows[named[0]]
    if named[0].endswith("_text"):
        if not STRING.accepts(column.type):
            raise InputError.wrong_type(where, named[0], column.type, STRING.word)
        filled = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False)
    else:
        filled = pc.is_valid(column)
    lacking = len(rows) - (pc.sum(filled).as_py() or 0)
    if lacking and data.on_missing == "raise":
        raise InputError.say(
            where,
            f"{named[0]} is null or blank in {lacking:,} of {len(rows):,} rows",
            hint="fill them, or leave such pairs out with `on_missing: drop`",
        )
    return rows.filter(filled)
