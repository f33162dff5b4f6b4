"""Pairs of a query and its target: what content training, and some of its checks, read.

A side is rows of a catalogue's inputs and the modalities that it may show; queries that
are texts are a catalogue of their own. Everything that would break a step is found here,
before training begins.

References
----------
arXiv 2510.12709, its table of training pairs: i2i shows all modalities on both sides, q2i
text on the query's, CLS text on the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.errors import InputError, show
from sail_features.training.patterns import FUSED, OMNI, Pattern


@dataclass(frozen=True)
class Side:
    """One side of all pairs.

    ``rows``: shape (pairs,), of ``inputs``; ``modalities``: what the side may show.
    """

    inputs: ItemInputs
    rows: NDArray[np.int64]
    modalities: tuple[str, ...]

    def has(self, modality: str) -> NDArray[np.bool_]:
        """Return which rows have a modality, or any of them (`FUSED`); shape (pairs,)."""
        wanted = self.modalities if modality == FUSED else (modality,)
        found = [self.inputs.has[name] for name in wanted]
        has: NDArray[np.bool_] = np.any(found, axis=0)[self.rows]
        return has

    def take(self, places: NDArray[Any]) -> Side:
        """Return the side of some of the pairs."""
        return replace(self, rows=self.rows[places])


@dataclass(frozen=True)
class PairDataset:
    """Pairs from one source, with the losses that they are good for.

    Parameters
    ----------
    name : unique in a run.
    query, target : equally many rows.
    grades : how well each pair matches, on any scale; None where every pair is a match.
    patterns : which vectors of the query and of the target are held against each other.

    Raises
    ------
    InputError
        No pairs, sides of different lengths, grades that aren't finite or come with other
        patterns than `OMNI`, a modality that no item of a side has, or pairs for which no
        pattern is possible.
    """

    name: str
    query: Side
    target: Side
    grades: NDArray[np.float32] | None = None
    patterns: tuple[Pattern, ...] = (OMNI,)

    def __post_init__(self) -> None:
        """Check everything that a step relies on."""
        where = f"data set {self.name!r}"
        counts = {len(self.query.rows), len(self.target.rows)}
        counts |= set() if self.grades is None else {len(self.grades)}
        if len(counts) > 1 or min(counts) < 2:
            raise InputError.say(
                where,
                f"{len(self.query.rows)} queries for {len(self.target.rows)} targets",
                hint="give at least two pairs, and a grade for each or for none",
            )
        if self.grades is not None and not np.isfinite(self.grades).all():
            raise InputError.say(where, "grades aren't all finite", hint="leave such pairs out")
        if self.grades is not None and self.patterns != (OMNI,):
            raise InputError.say(
                where,
                f"is graded and has the patterns {show(self.patterns)}",
                hint="leave the patterns of graded pairs out: they are compared as a whole",
            )
        for label, side, named in (
            ("query", self.query, [pattern[0] for pattern in self.patterns]),
            ("target", self.target, [pattern[1] for pattern in self.patterns]),
        ):
            _check_modalities(f"{where}, {label}", side, named)
        lacking = np.flatnonzero(~self.valid.any(axis=1))
        if len(lacking):
            pairs = show(zip(*self._ids(lacking), strict=True))
            raise InputError.say(
                where,
                f"{len(lacking)} pairs have none of the patterns {show(self.patterns)}: {pairs}",
                hint="encode these items, declare a pattern that they have, or drop them with "
                "on_missing='drop'",
            )

    @classmethod
    def from_ids(
        cls,
        name: str,
        queries: ItemInputs,
        targets: ItemInputs,
        pairs: tuple[NDArray[Any], NDArray[Any]],
        *,
        grades: NDArray[np.float32] | None = None,
        query_modalities: Sequence[str] | None = None,
        target_modalities: Sequence[str] | None = None,
        patterns: Sequence[Pattern] = (OMNI,),
        on_missing: Literal["raise", "drop"] = "raise",
    ) -> Self:
        """Build it from ids of queries and of targets.

        Parameters
        ----------
        query_modalities, target_modalities : None shows all that the inputs have.
        on_missing : whether pairs of unknown items, and pairs that no pattern is possible
            for, are an error or left out.

        Raises
        ------
        InputError
            See the class; also unknown items.
        """
        query = Side(queries, queries.rows_of(pairs[0]), _declare(queries, query_modalities))
        target = Side(targets, targets.rows_of(pairs[1]), _declare(targets, target_modalities))
        known = (query.rows >= 0) & (target.rows >= 0)
        if on_missing == "raise" and not known.all():
            unknown = [*pairs[0][query.rows < 0], *pairs[1][target.rows < 0]]
            distinct = list(dict.fromkeys(unknown))
            raise InputError.say(
                f"data set {name!r}",
                f"pairs name {len(distinct)} items that have no inputs: {show(distinct)}",
                hint="encode these items first, or drop their pairs with on_missing='drop'",
            )
        if on_missing == "drop":
            for place, side in enumerate((query, target)):
                where = f"data set {name!r}, {('query', 'target')[place]}"
                _check_modalities(where, side, [pattern[place] for pattern in patterns])
            known[known] = _valid(query.take(known), target.take(known), patterns).any(axis=1)
        kept = None if grades is None else grades[known]
        return cls(name, query.take(known), target.take(known), kept, tuple(patterns))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.query.rows)

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Which patterns are possible for which pairs, shape (pairs, patterns)."""
        return _valid(self.query, self.target, self.patterns)

    def known_among(
        self, queries: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return places of queries and targets that are no negatives of each other.

        Those are known pairs, and an item with itself.

        Parameters
        ----------
        queries, targets : rows of the two sides' inputs.

        Returns
        -------
        Shape (2, k): places in ``queries`` and in ``targets``.
        """
        found = self._linked[queries][:, targets].tocoo()
        return np.stack([found.row, found.col]).astype(np.int64)

    @cached_property
    def _linked(self) -> csr_array:
        """All known pairs as a matrix, by rows of the inputs."""
        queries, targets = self.query.rows, self.target.rows
        if self.query.inputs.item_ids is self.target.inputs.item_ids:
            every = np.arange(len(self.query.inputs))
            queries, targets = np.append(queries, every), np.append(targets, every)
        shape = (len(self.query.inputs), len(self.target.inputs))
        linked = csr_array((np.ones(len(queries), np.int32), (queries, targets)), shape=shape)
        linked.sum_duplicates()
        return linked

    def _ids(self, places: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        sides = (self.query, self.target)
        query, target = (side.inputs.item_ids[side.rows[places]] for side in sides)
        return query, target


def _declare(inputs: ItemInputs, named: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(sorted(inputs.has)) if named is None else tuple(named)


def _check_modalities(where: str, side: Side, named: Sequence[str]) -> None:
    """Refuse modalities that the side's items lack, or patterns that it doesn't show."""
    existing = [name for name, has in side.inputs.has.items() if has.any()]
    lacking = [name for name in side.modalities if name not in existing]
    hidden = [name for name in named if name not in (FUSED, *side.modalities)]
    if lacking or hidden or not side.modalities:
        what = lacking or hidden or ["nothing"]
        shown = existing if lacking else side.modalities
        raise InputError.say(
            where,
            f"declares {show(what)}, but its items have {show(shown) or 'nothing'}",
            hint="declare what the items have, or encode them with that tower",
        )


def _valid(query: Side, target: Side, patterns: Sequence[Pattern]) -> NDArray[np.bool_]:
    return np.stack([query.has(q) & target.has(t) for q, t in patterns], axis=1)
