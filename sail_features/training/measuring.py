"""What `sail-features train --evaluate` measures, on what training doesn't see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from sail_features.encoders.omni.joint import AnyModel
from sail_features.errors import InputError
from sail_features.training.behaviour_clusters import CLUSTERS, cluster_by_behaviour
from sail_features.training.collaborative_ids import IdSettings, train_ids
from sail_features.training.evaluation.evaluate import EvaluationTasks, evaluate_embedding
from sail_features.training.evaluation.pair_recall import ItemPairs, SearchPairs
from sail_features.training.evaluation.sequence_recall import (
    filtered_sequences,
    vanilla_sequences,
)
from sail_features.training.recipe import MinedPairs, PairFile, Recipe
from sail_features.training.sequences import Sequences
from sail_features.training.sources import HeldOut, Sources
from sail_features.training.vectors import embed_rows

ITEMS_A_CLUSTER: Final = 20
"""At least, in the mean: a small catalogue has fewer clusters for the filtered protocol."""


def build_measure(
    recipe: Recipe, sources: Sources, say: Callable[[str], None] = lambda _: None
) -> Callable[[AnyModel], dict[str, float]]:
    """Return what measures a model: held-out pairs, and each user's next item.

    Next items are those from ``trained_until`` to ``as_of``; with no time between the two
    there are none. They are sought from ten items of the past at random (vanilla), and from
    the newest ten that are like them (filtered). Where there are next items, the neighbours
    are also held against those of ID embeddings (ALS) of all events before ``as_of``.

    Parameters
    ----------
    say : is told what can't be measured, and why.

    Raises
    ------
    InputError
        The recipe holds no pairs out, and there are no later events.
    """
    held_out = _hold_out(recipe, sources)
    sequences: dict[str, Sequences] = {}
    collaborative = None
    if sources.as_of > sources.trained_until and sources.store.manifests("events"):
        found = vanilla_sequences(sources.all_engagements, sources.trained_until)
        sequences = {"vanilla": found} if len(found) else {}
    if not held_out and not sequences:
        raise InputError.say(
            "--evaluate",
            "there is nothing to measure: no pairs are held out, no events follow --trained-until",
            hint="set `holdout:` of a data set of pairs, or give an earlier --trained-until",
        )
    if sequences:
        try:
            sequences |= _filtered(sources)
            collaborative = train_ids(sources.all_engagements, IdSettings())
        except InputError as error:
            say(f"not measured: next items by the filtered protocol, collaborative ranks: {error}")
    items = {
        name: ItemPairs(pairs.query, pairs.target)
        for name, pairs in held_out.items()
        if pairs.queries is sources.inputs
    }
    every = np.arange(len(sources.inputs))

    def measure(model: AnyModel) -> dict[str, float]:
        searches = {
            name: SearchPairs(embed_rows(model, pairs.queries, pairs.query), pairs.target)
            for name, pairs in held_out.items()
            if name not in items
        }
        ids = sources.inputs.item_ids
        tasks = EvaluationTasks(items, searches, sequences, collaborative, ids)
        return evaluate_embedding(embed_rows(model, sources.inputs, every), tasks)

    return measure


def _hold_out(recipe: Recipe, sources: Sources) -> dict[str, HeldOut]:
    found = {}
    for name, data in recipe.data.items():
        if isinstance(data, PairFile | MinedPairs):
            pairs = sources.held_out(name, data)
            if pairs is not None:
                found[name] = pairs
    return found


def _filtered(sources: Sources) -> dict[str, Sequences]:
    count = min(CLUSTERS, max(1, len(sources.inputs) // ITEMS_A_CLUSTER))
    ids = sources.collaborative_ids(IdSettings())
    clusters = cluster_by_behaviour(ids, sources.inputs, count=count)
    since = sources.trained_until
    found = filtered_sequences(sources.all_engagements, since, clusters, sources.labels)
    return {"filtered": found} if len(found) else {}
