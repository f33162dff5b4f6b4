"""Collaboration-aware enhancement of MiniLM on public logs, split by time.

The tower stays frozen; an adapter and a trunk without layers are trained on its vectors, so
that a run takes a minute. Everything is chosen on slices of time before the ones reported
(`ranking_eval/EXPERIMENTS.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.config import EncoderConfig, PairConfig, SparkConfig
from sail_features.datasets.catalogue import load_dataset
from sail_features.datasets.dataset import Dataset
from sail_features.embeddings import EmbeddingTable, load_embedding_table
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.history import ids_of, us_of
from sail_features.spark.co_engagement import mine_pairs
from sail_features.spark.session import build_session
from sail_features.training.collaborative_ids import IdSettings, train_ids
from sail_features.training.engagements import Engagements, select_engagements
from sail_features.training.evaluation.pair_recall import ItemPairs, compute_item_recall
from sail_features.training.evaluation.ranks import nearest
from sail_features.training.evaluation.sequence_recall import (
    compute_sequence_recall,
    vanilla_sequences,
)
from sail_features.training.id_to_item import IdToItem
from sail_features.training.loop import train
from sail_features.training.pair_objective import LossSettings, PairObjective
from sail_features.training.pairs import PairDataset
from sail_features.training.sequence_rules import select_spread
from sail_features.training.sequence_to_item import SequenceToItem
from sail_features.training.sequences import build_sequences
from sail_features.training.settings import TrainSettings
from sail_features.training.vectors import embed_rows

DATA: Final = Path(__file__).parents[2] / "shared" / "data"
CACHE: Final = Path(__file__).parents[1] / "build" / "train"
WINDOW_HOURS: Final[Mapping[str, float]] = {
    "online_retail": 24 * 7,
    "ifdb": 24 * 90,
    "xwines_slim": 24 * 30,
}
"""How far apart two engagements of a user make a pair: a shop is visited more often than a
game is finished."""
PAIRS: Final[dict[str, int]] = {"min_support": 8, "max_partners": 10, "max_events": 400}
"""Chosen on online_retail between 30 and 40 % of its impressions."""
ALIKE: Final = 0.5
"""Least cosine of raw vectors that makes two items a pair of content."""
STEPS: Final = ("sequence_to_item", "id_to_item")


@dataclass(frozen=True)
class RealSet:
    """A public log, and its items' vectors by the frozen tower."""

    dataset: Dataset
    raw: EmbeddingTable

    @classmethod
    def open(cls, name: str) -> RealSet:
        """Load a set; its items are encoded the first time, some minutes."""
        dataset = load_dataset(str(DATA / name))
        folder = CACHE / name
        if not (folder / "meta.json").is_file():
            _encode(dataset.items).save(folder)
        return cls(dataset, load_embedding_table(folder))

    @cached_property
    def inputs(self) -> ItemInputs:
        """The tower's vectors as the model reads them."""
        return ItemInputs.from_tables({"text": self.raw})

    def engagements(self, until: datetime) -> Engagements:
        """Return what is seen before a moment."""
        return select_engagements(self.dataset.events, self.raw.ids, trained_until=until)

    def permuted(self, seed: int = 0) -> RealSet:
        """Return the set with each item's events dealt to another item: behaviour that lies."""
        items = pa.array(self.raw.ids)
        dealt = items.take(pa.array(np.random.default_rng(seed).permutation(len(items))))
        place = pc.index_in(self.dataset.events[c.ITEM_ID], value_set=items)
        at = self.dataset.events.column_names.index(c.ITEM_ID)
        events = self.dataset.events.set_column(at, c.ITEM_ID, dealt.take(place))
        known = pc.is_valid(place)
        return RealSet(replace(self.dataset, events=events.filter(known)), self.raw)

    def moment(self, share: float) -> datetime:
        """Return the moment before which this share of the impressions lies."""
        times = self.dataset.impressions[c.EVENT_TIMESTAMP]
        place = np.argsort(us_of(times), kind="stable")[round(share * len(times))]
        found: datetime = times[int(place)].as_py()
        return found

    def next_item_recall(
        self, table: EmbeddingTable, since: datetime, until: datetime, targets: int = 1
    ) -> float:
        """Return Recall@10 of each user's newest new items in [since, until)."""
        log = self.engagements(until)
        sequences = vanilla_sequences(log, since, targets_per_user=targets)
        vectors = table.take(np.arange(len(table)))
        return compute_sequence_recall(vectors, sequences, (10,))[10]

    def content_recall(self, table: EmbeddingTable) -> float:
        """Return how often an item finds its nearest by the raw tower among ten."""
        raw, ours = (one.take(np.arange(len(one))) for one in (self.raw, table))
        pairs = ItemPairs(np.arange(len(raw)), nearest(raw, raw, 1, skip_own=True)[:, 0])
        return compute_item_recall(ours, pairs, (10,))[10]


def _encode(items: pa.Table) -> EmbeddingTable:
    items = items.sort_by(c.ITEM_ID)
    texts = [text or "" for text in items[c.TEXT].to_pylist()]
    told = np.array([bool(text.strip()) for text in texts])
    encoder = build_encoder(EncoderConfig())
    vectors = encode_or_raise(encoder, [text for text in texts if text.strip()])
    ids = ids_of(items[c.ITEM_ID])[told]
    return EmbeddingTable(ids, vectors, encoder.encoder_id, np.zeros(len(ids), np.int64))


def mine(real: RealSet, until: datetime, folder: Path) -> NDArray[np.int64]:
    """Return rows of items that the same users engaged with, shape (pairs, 2), by Spark."""
    import pyarrow.parquet as pq

    pq.write_table(real.dataset.events, folder / "events.parquet")
    settings = PairConfig(window_hours=WINDOW_HOURS[real.dataset.name], **PAIRS)
    spark = build_session(SparkConfig(driver_memory="2g"), "benchmark train")
    try:
        events = spark.read.parquet(str(folder / "events.parquet"))
        mined = mine_pairs(events, settings, trained_until=until).toArrow()
    finally:
        spark.stop()
    sides = [real.inputs.rows_of(ids_of(mined[name])) for name in (c.ITEM_ID, c.OTHER_ITEM_ID)]
    pairs = np.stack(sides, axis=1)
    return pairs[(pairs >= 0).all(axis=1)]


def enhance(
    real: RealSet,
    until: datetime,
    pairs: NDArray[np.int64],
    folder: Path,
    *,
    seed: int = 0,
    steps: tuple[str, ...] = STEPS,
) -> dict[str, EmbeddingTable]:
    """Train on what lies before ``until``; return the items' vectors after each step."""
    log, inputs = real.engagements(until), real.inputs
    torch.manual_seed(seed)
    dim = real.raw.dim
    settings = OmniSettings(hidden=dim, layers=0, heads=1, matryoshka=(dim // 4, dim))
    model = OmniModel(inputs.bind(settings))
    raw = real.raw.take(np.arange(len(real.raw)))
    near = nearest(raw, raw, 3, skip_own=True)
    alike = np.stack([np.repeat(np.arange(len(raw)), 3), near.ravel()], axis=1)
    alike = alike[np.einsum("pd,pd->p", raw[alike[:, 0]], raw[alike[:, 1]]) >= ALIKE]
    content = _contrast("content", inputs, alike, model)
    together = _contrast("co_engagement", inputs, pairs, model)
    found = {}
    for step in steps:
        if step == "sequence_to_item":
            rule = select_spread(np.zeros(len(inputs), np.int64))
            sequences = build_sequences(log, rule, seed=seed, targets_per_user=10)
            objectives = [SequenceToItem(inputs, sequences), together, content]
            weights, training = [1.0, 4.0, 4.0], TRAINING.model_copy(update={"seed": seed})
        else:
            teachers = [train_ids(log, one) for one in IDS]
            distil = IdToItem(inputs, teachers, hidden=dim, trained_until=until, auxiliary=together)
            objectives, weights = [distil, content], [1.0, 1.0]
            training = TRAINING.model_copy(update={"seed": seed, "steps": 100})
        train(model, objectives, weights, training, folder / step)
        vectors = embed_rows(model, inputs, np.arange(len(inputs)))
        found[step] = replace(real.raw, vectors=vectors, encoder_id=f"{step}-{seed}")
    return found


TRAINING: Final = TrainSettings(steps=150, batch_size=384, warmup_steps=20, weight_decay=1e-4)
IDS: Final = (
    IdSettings(family="ppmi", min_support=10),
    IdSettings(family="bpr", min_support=10),
)


def _contrast(
    name: str, inputs: ItemInputs, pairs: NDArray[np.int64], model: OmniModel
) -> PairObjective:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    ids = inputs.item_ids
    data = PairDataset.from_ids(name, inputs, inputs, (ids[both[:, 0]], ids[both[:, 1]]))
    return PairObjective(data, model.settings, LossSettings(in_context=0, late_fusion=0))
