"""The objective of each kind of data that a recipe may name."""

from __future__ import annotations

from collections.abc import Mapping

from scipy.sparse import csr_array

from sail_features.encoders.omni.joint import AnyModel, part_model
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import Part
from sail_features.errors import InputError
from sail_features.training.behaviour_clusters import cluster_by_behaviour
from sail_features.training.collaborative_ids import IdSettings
from sail_features.training.id_to_item import IdToItem
from sail_features.training.objective import Objective
from sail_features.training.pair_objective import LossSettings, PairObjective
from sail_features.training.pairs import PairDataset
from sail_features.training.recipe import (
    DataRecipe,
    ItemIds,
    MinedPairs,
    NextItem,
    OwnParts,
    PairFile,
)
from sail_features.training.sequence_encoder import SequenceTransformer
from sail_features.training.sequence_rules import (
    select_by_content,
    select_by_labels,
    select_consistent,
    select_spread,
)
from sail_features.training.sequence_to_item import SequenceToItem
from sail_features.training.sequences import Select, Sequences, build_sequences
from sail_features.training.sources import Sources
from sail_features.training.vectors import embed_rows


def build_objective(
    name: str,
    recipes: Mapping[str, DataRecipe],
    sources: Sources,
    model: AnyModel,
    losses: LossSettings,
    part: Part = "content",
) -> Objective:
    """Return what one data set of a recipe trains on.

    Parameters
    ----------
    recipes : of all data sets; one may name another.
    model : as it is when the stage begins.
    losses : of pairs.
    part : of the model, which the stage trains.

    Raises
    ------
    InputError
        See `PairDataset`, `SequenceToItem` and `IdToItem`.
    ModelError
        The model has no such part.
    """
    data, trained = recipes[name], part_model(model, part).settings
    read = sources if part == "content" else sources.of_towers
    if isinstance(data, NextItem):
        sequences = _draw_sequences(name, data, read, sources, part_model(model, "content"))
        encoder = SequenceTransformer(trained.hidden) if data.transformer else None
        objective: Objective = SequenceToItem(read.inputs, sequences, encoder)
    elif isinstance(data, ItemIds):
        beside = data.auxiliary
        auxiliary = beside and build_objective(beside, recipes, sources, model, losses, part)
        objective = IdToItem(
            read.inputs,
            [read.collaborative_ids(teacher) for teacher in data.teachers],
            hidden=trained.hidden,
            trained_until=sources.trained_until,
            auxiliary=auxiliary or None,
            weight=data.weight,
            form=data.form,
        )
    else:
        return PairObjective(build_pairs(name, data, read), trained, losses)
    objective.name = name
    return objective


def build_pairs(name: str, data: PairFile | MinedPairs | OwnParts, sources: Sources) -> PairDataset:
    """Return the pairs of one data set, read once for all stages."""
    if name not in sources.pairs:
        sources.pairs[name] = _read_pairs(name, data, sources)
    return sources.pairs[name]


def _read_pairs(name: str, data: PairFile | MinedPairs | OwnParts, sources: Sources) -> PairDataset:
    if isinstance(data, PairFile):
        return sources.read_pairs(name, data)
    if isinstance(data, MinedPairs):
        return sources.mined_pairs(name, data)
    return sources.own_parts(name, data)


def _draw_sequences(
    name: str, data: NextItem, sources: Sources, whole: Sources, content: OmniModel
) -> Sequences:
    """Return the training sequences, built once for all stages unless the model chooses them."""
    if name not in sources.sequences or data.rule == "content":
        sources.sequences[name] = build_sequences(
            sources.engagements,
            _choose_rule(data, sources, whole, content),
            seed=sources.seed,
            targets_per_user=data.targets_per_user,
        )
    return sources.sequences[name]


def _choose_rule(data: NextItem, sources: Sources, whole: Sources, content: OmniModel) -> Select:
    """Return the rule of the sequences.

    Parameters
    ----------
    sources, whole : what the stage reads, and what there is: the content's model reads all.
    """
    if data.rule == "content":
        rows = whole.inputs.rows_of(sources.inputs.item_ids)
        vectors = embed_rows(content, whole.inputs, rows)
        return select_by_content(vectors, behaviours=data.behaviours)
    if data.rule == "labels":
        return select_by_labels(_need_labels(sources))
    ids = sources.collaborative_ids(IdSettings(seed=sources.seed))
    clusters = cluster_by_behaviour(ids, sources.inputs, count=data.clusters, seed=sources.seed)
    if data.rule == "consistent":
        return select_consistent(clusters, behaviours=data.behaviours)
    return select_spread(clusters)


def _need_labels(sources: Sources) -> csr_array:
    if not sources.labels.shape[1]:
        raise InputError.say(
            "items",
            "none has tags or a category to compare",
            hint="import tags, or choose another rule for the sequences",
        )
    return sources.labels
