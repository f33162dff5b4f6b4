"""All measures of one embedding, and how they changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from sail_features.embeddings import EmbeddingTable, rows_among
from sail_features.errors import InputError
from sail_features.training.evaluation.bijection import compute_bijection
from sail_features.training.evaluation.cluster_agreement import compute_cluster_agreement
from sail_features.training.evaluation.kendall import compute_kendall
from sail_features.training.evaluation.neighbour_overlap import K, compute_neighbour_overlap
from sail_features.training.evaluation.pair_recall import (
    ItemPairs,
    SearchPairs,
    compute_item_recall,
    compute_search_recall,
)
from sail_features.training.evaluation.ranks import Floats
from sail_features.training.evaluation.separability import compute_separability
from sail_features.training.evaluation.sequence_recall import KS, compute_sequence_recall
from sail_features.training.sequences import Sequences

PAIR_KS: Final = (10, 50, 100)


@dataclass(frozen=True)
class EvaluationTasks:
    """What an embedding is held against, each by a name for the table.

    Parameters
    ----------
    pairs : items that belong together.
    searches : search queries, encoded by the same model, and the items that they seek.
    sequences : past items and the next one.
    collaborative : ID embedding, the ranking that behaviour gives; its items must be
        among the catalogue's.
    item_ids : shape (items,), ascending, in the order of the vectors; only needed beside
        ``collaborative``.
    """

    pairs: Mapping[str, ItemPairs] = field(default_factory=dict)
    searches: Mapping[str, SearchPairs] = field(default_factory=dict)
    sequences: Mapping[str, Sequences] = field(default_factory=dict)
    collaborative: EmbeddingTable | None = None
    item_ids: NDArray[np.generic] | None = None


def evaluate_embedding(
    vectors: Floats, tasks: EvaluationTasks, *, pair_ks: Sequence[int] = PAIR_KS, seed: int = 0
) -> dict[str, float]:
    """Return every measure by its name, such as ``sequence vanilla: recall@10``.

    Parameters
    ----------
    vectors : shape (items, dim), of length 1, in the order of the tasks' rows.

    Raises
    ------
    InputError
        A vector that isn't finite, or a collaborative table with unknown items.
    """
    if not np.isfinite(vectors).all():
        raise InputError.not_finite(
            "vectors", np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
        )
    found: dict[str, float] = {}
    for name, pairs in tasks.pairs.items():
        for k, recall in compute_item_recall(vectors, pairs, pair_ks).items():
            found[f"i2i {name}: recall@{k}"] = recall
        found[f"i2i {name}: pairs"] = len(pairs.query)
        found[f"i2i {name}: NMI"] = compute_cluster_agreement(vectors, pairs, seed=seed)
        found[f"i2i {name}: bijective accuracy"] = compute_bijection(vectors, pairs)
        found[f"i2i {name}: separability"] = compute_separability(vectors, pairs, seed=seed)
    for name, searches in tasks.searches.items():
        for k, recall in compute_search_recall(vectors, searches, pair_ks).items():
            found[f"q2i {name}: recall@{k}"] = recall
        found[f"q2i {name}: pairs"] = len(searches.target)
    for name, sequences in tasks.sequences.items():
        for k, recall in compute_sequence_recall(vectors, sequences, KS).items():
            found[f"sequence {name}: recall@{k}"] = recall
        found[f"sequence {name}: users"] = len(sequences)
    if tasks.collaborative is not None:
        ours, theirs = _align(vectors, tasks)
        found["collaborative: Kendall"] = compute_kendall(ours, theirs, seed=seed)
        found[f"collaborative: overlap@{K}"] = compute_neighbour_overlap(ours, theirs)
    return found


def _align(vectors: Floats, tasks: EvaluationTasks) -> tuple[Floats, Floats]:
    """Return the vectors of the items that have a collaborative one, and those."""
    table, ids = tasks.collaborative, tasks.item_ids
    if table is None or ids is None:
        raise InputError.say(
            "EvaluationTasks", "collaborative without item_ids", hint="give the vectors' ids too"
        )
    place = rows_among(table.ids, ids)
    if unknown := table.ids[place < 0].tolist():
        raise InputError.unknown_items(f"ID table {table.encoder_id}", unknown)
    return vectors[place], table.take(np.arange(len(table)))


def show_change(stages: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table of all measures, a column a stage, such as before and after.

    Examples
    --------
    >>> show_change({"before": {"recall": 0.2}, "after": {"recall": 0.3}}).row_count
    1
    """
    table = Table("", *stages)
    names = dict.fromkeys(name for found in stages.values() for name in found)
    for name in names:
        cells = (found.get(name) for found in stages.values())
        table.add_row(name, *map(_show, cells))
    return table


def _show(cell: float | None) -> str:
    """Return a count as it is, any other figure with four digits."""
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.4f}"
