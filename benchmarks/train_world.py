"""Training on the synthetic omni-modal world, with parts that can be left out.

What `benchmarks/train.py` holds against its bars and `benchmarks/train_ablations.py` takes
apart. Half of the partners are never trained on: they measure recall. Events of the last
tenth of the log are never trained on: they measure the next item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from sail_features.datasets.synthetic_omni import DAYS, OmniWorld, OmniWorldConfig, build_omni_world
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.joint import AnyModel, JointModel, build_omni
from sail_features.encoders.omni.settings import BehaviourPart, OmniSettings
from sail_features.training.collaborative_ids import IdSettings, train_ids
from sail_features.training.engagements import Engagements, select_engagements
from sail_features.training.evaluation.pair_recall import ItemPairs, compute_item_recall
from sail_features.training.evaluation.sequence_recall import (
    compute_sequence_recall,
    vanilla_sequences,
)
from sail_features.training.hard_negatives import HardNegativeSettings
from sail_features.training.id_to_item import IdToItem
from sail_features.training.loop import train
from sail_features.training.objective import Objective
from sail_features.training.pair_objective import LossSettings, PairObjective
from sail_features.training.pairs import PairDataset
from sail_features.training.patterns import OMNI, Pattern
from sail_features.training.sequence_rules import select_spread
from sail_features.training.sequence_to_item import SequenceToItem
from sail_features.training.sequences import Sequences, build_sequences
from sail_features.training.settings import TrainSettings
from sail_features.training.vectors import embed_rows

WORLD: Final = OmniWorldConfig(items=3_000, users=1_500, events_per_user=40)
TRAINED_SHARE: Final = 0.9
CROSSED: Final[tuple[Pattern, ...]] = (
    OMNI,
    ("audio", "text"),
    ("vision", "text"),
    ("audio", "vision"),
)
CONTENT: Final = TrainSettings(steps=150, batch_size=256, warmup_steps=30, weight_decay=1e-2)
SEQUENCE: Final = TrainSettings(steps=200, batch_size=192, warmup_steps=20)
IDS: Final = TrainSettings(steps=100, batch_size=256, warmup_steps=20, learning_rate=5e-4)
CONTENT_WEIGHT: Final = 2.0
"""Of the content pairs beside each step of the enhancement, where one vector learns both."""


@dataclass(frozen=True)
class Lab:
    """The world as training and measuring see it.

    ``dealt``: seed by which what is trained on is dealt to other items, behaviour that
    lies; None leaves it.
    """

    world: OmniWorld
    inputs: ItemInputs
    dealt: int | None = None

    @classmethod
    def build(cls, seed: int, without: tuple[str, ...] = ()) -> Lab:
        """Return a world, some modalities left out."""
        world = build_omni_world(WORLD.model_copy(update={"seed": seed}))
        towers = {name: vectors for name, vectors in world.towers.items() if name not in without}
        return cls(world, ItemInputs.from_arrays(world.item_ids, towers))

    @cached_property
    def has_content(self) -> NDArray[np.bool_]:
        """Which items any tower saw, shape (items,)."""
        return np.any(list(self.inputs.has.values()), axis=0)

    def partners(self, part: int) -> NDArray[np.int64]:
        """Return pairs to train on (0) or to measure with (1), shape (pairs, 2)."""
        pairs = self.world.partners[part::2]
        return pairs[self.has_content[pairs].all(axis=1)]

    @cached_property
    def engagements(self) -> Engagements:
        """What is trained on."""
        ids = self.world.item_ids
        until = self.world.moment(TRAINED_SHARE)
        log = self._seen(select_engagements(self.world.events, ids, trained_until=until))
        if self.dealt is None:
            return log
        items, other = np.flatnonzero(self.has_content), np.arange(len(ids))
        other[items] = np.random.default_rng(self.dealt).permutation(items)
        return replace(log, item=other[log.item])

    @cached_property
    def next_items(self) -> Sequences:
        """What is measured with."""
        until = self.world.moment(1.0) + timedelta(days=DAYS)
        every = select_engagements(self.world.events, self.world.item_ids, trained_until=until)
        return vanilla_sequences(self._seen(every), self.world.moment(TRAINED_SHARE))

    def _seen(self, log: Engagements) -> Engagements:
        """Return the engagements with items that have content."""
        kept = self.has_content[log.item]
        parts = {name: getattr(log, name)[kept] for name in ("user", "item", "time_us", "kind")}
        return replace(log, **parts)

    def build_model(
        self, seed: int, matryoshka: tuple[int, ...] = (16, 32, 64), *, one_vector: bool = False
    ) -> AnyModel:
        """Return an untrained tiny model; behaviour has a part of its own, or one vector both."""
        torch.manual_seed(seed)
        settings = OmniSettings(
            hidden=64,
            layers=2,
            heads=4,
            matryoshka=matryoshka,
            behaviour=None if one_vector else BehaviourPart(),
        )
        return build_omni(self.inputs.bind(settings))

    def content_objective(
        self,
        model: AnyModel,
        *,
        patterns: tuple[Pattern, ...] = CROSSED,
        hard_negatives: bool = True,
        name: str = "partners",
        pairs: NDArray[np.int64] | None = None,
    ) -> PairObjective:
        """Return the contrast of partners."""
        used = self.partners(0) if pairs is None else pairs
        both = np.concatenate([used, used[:, ::-1]])
        ids = self.world.item_ids
        there = tuple(p for p in patterns if all(m in (*self.inputs.has, "fused") for m in p))
        data = PairDataset.from_ids(
            name, self.inputs, self.inputs, (ids[both[:, 0]], ids[both[:, 1]]), patterns=there
        )
        hard = HardNegativeSettings() if hard_negatives else None
        return PairObjective(data, model.settings, LossSettings(hard_negatives=hard))

    def sequence_objective(self, seed: int) -> SequenceToItem:
        """Return sequence to item, by the collaborative multi-peak rule without clusters."""
        one = np.zeros(len(self.inputs), np.int64)
        sequences = build_sequences(
            self.engagements, select_spread(one), seed=seed, targets_per_user=10
        )
        return SequenceToItem(self.inputs, sequences)

    def id_objective(self, hidden: int, auxiliary: Objective | None = None) -> IdToItem:
        """Return ID to item with two families of IDs."""
        families = (IdSettings(family="als", dim=32), IdSettings(family="bpr", dim=32))
        return IdToItem(
            self.inputs,
            [train_ids(self.engagements, one) for one in families],
            hidden=hidden,
            trained_until=self.engagements.trained_until,
            auxiliary=auxiliary,
            weight=CONTENT_WEIGHT,
        )

    def enhance(
        self, model: AnyModel, folder: Path, seed: int, steps: tuple[str, ...]
    ) -> dict[str, dict[str, float]]:
        """Run the steps of the enhancement in their order; return the measures after each."""
        found = {}
        for step in steps:
            settings = SEQUENCE if step == "sequence_to_item" else IDS
            settings = settings.model_copy(update={"seed": seed})
            if isinstance(model, JointModel):
                objective = self._behaviour_objective(step, model.behaviour.settings.hidden, seed)
                train(model.behaviour, [objective], [1.0], settings, folder / step)
                model.join()
            else:
                objectives, weights = self._beside_content(step, model, seed)
                train(model, objectives, weights, settings, folder / step)
            found[step] = self.measure(model)
        return found

    def _behaviour_objective(self, step: str, hidden: int, seed: int) -> Objective:
        if step == "sequence_to_item":
            return self.sequence_objective(seed)
        return self.id_objective(hidden)

    def _beside_content(
        self, step: str, model: AnyModel, seed: int
    ) -> tuple[list[Objective], list[float]]:
        """Return a step's objectives, with content pairs so that the vector keeps them."""
        beside = self.content_objective(model, hard_negatives=False)
        if step == "sequence_to_item":
            return [self.sequence_objective(seed), beside], [1.0, CONTENT_WEIGHT]
        return [self.id_objective(model.settings.hidden, beside)], [1.0]

    def measure(
        self, model: AnyModel, modalities: tuple[str, ...] | None = None
    ) -> dict[str, float]:
        """Return Recall@10 of held-out partners and of next items."""
        vectors = embed_rows(model, self.inputs, np.arange(len(self.inputs)), modalities)
        pairs = self.partners(1)
        if modalities is not None:
            there = np.any([self.inputs.has[name] for name in modalities], axis=0)
            pairs = pairs[there[pairs].all(axis=1)]
        content = compute_item_recall(vectors, ItemPairs(*pairs.T), (10,))[10]
        if modalities is not None:
            return {"content": content}
        return {
            "content": content,
            "next item": compute_sequence_recall(vectors, self.next_items, (10,))[10],
        }
