"""Training sequences: ten items of a user's past, and the item that came next.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3), section on collaboration-aware enhancement
(`sail_method.md` 5.1): histories of up to 1,000 positively received items, the newest one
is the target, ten of the others are the query, chosen by one of four rules
(`sequence_rules`). There a user gives one target; here the newest ``targets_per_user``
(chosen here: a log of thousands of users has too few otherwise). Items that came at the
target's own moment, such as the rest of its basket, are never in its query (chosen here:
they would not be known when it is to be found).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sail_features.training.engagements import Engagements

Ints = NDArray[np.int64]

LENGTH: Final = 10
"""Items in a query (paper)."""
MAX_HISTORY: Final = 1_000
"""Newest items of a user that a query is chosen from (paper)."""
ABSENT: Final = -1
"""Fills the places of a query that is shorter than `LENGTH`."""


@dataclass(frozen=True)
class Sequences:
    """Queries and targets, a row each.

    Parameters
    ----------
    query : shape (rows, `LENGTH`), item rows, `ABSENT` at the end of short ones.
    target : shape (rows,), item rows.
    user : shape (rows,), codes of users.
    """

    query: Ints
    target: Ints
    user: Ints

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.target)

    def take(self, rows: Ints) -> Sequences:
        """Return some of the rows, in the order given."""
        return Sequences(self.query[rows], self.target[rows], self.user[rows])


class Past(NamedTuple):
    """One user's distinct items before a target, the oldest first.

    Parameters
    ----------
    item : shape (n,), item rows.
    behaviours : shape (n,), positive events of this user on each item until then.
    kinds : shape (n,), a bit for each type among those events.
    target, target_kinds : the item to find, and the types at its moment.
    """

    item: Ints
    behaviours: Ints
    kinds: Ints
    target: int
    target_kinds: int


Select = Callable[[Past, np.random.Generator], Ints]
"""Returns places in ``past.item``, at most `LENGTH` of them; none drops the sequence."""


def build_sequences(
    engagements: Engagements,
    select: Select,
    *,
    seed: int,
    targets_per_user: int = 20,
    least: int = 3,
    since_us: int | None = None,
) -> Sequences:
    """Return the sequences of all users.

    Parameters
    ----------
    select : one of `sequence_rules.RULES`.
    targets_per_user : the newest so many first engagements of each user are targets.
    least : a query with fewer items is dropped (chosen here).
    since_us : only engagements at or after this moment are targets; None takes all.

    Notes
    -----
    A repeated engagement is no target: only what is new to the user is to be found. About
    50 us a sequence.
    """
    rng = np.random.default_rng(seed)
    queries, targets, users = [], [], []
    for user in range(engagements.users):
        for past in _iter_pasts(engagements, user, targets_per_user, since_us):
            chosen = past.item[select(past, rng)]
            if len(chosen) >= least:
                queries.append(pad(chosen))
                targets.append(past.target)
                users.append(user)
    return Sequences(
        np.array(queries, np.int64).reshape(-1, LENGTH),
        np.array(targets, np.int64),
        np.array(users, np.int64),
    )


def pad(items: Ints) -> Ints:
    """Return the items, and `ABSENT` up to `LENGTH`.

    Examples
    --------
    >>> pad(np.array([4, 2]))
    array([ 4,  2, -1, -1, -1, -1, -1, -1, -1, -1])
    """
    return np.concatenate([items, np.full(LENGTH - len(items), ABSENT)])


def _iter_pasts(
    engagements: Engagements, user: int, targets: int, since_us: int | None
) -> Iterator[Past]:
    """Yield what lies before each of the user's newest first engagements, the newest first."""
    mine = slice(engagements.offsets[user], engagements.offsets[user + 1])
    item, time_us, kind = engagements.item[mine], engagements.time_us[mine], engagements.kind[mine]
    _, first = np.unique(item, return_index=True)
    if since_us is not None:
        first = first[time_us[first] >= since_us]
    for place in np.sort(first)[::-1][:targets]:
        moment = time_us[place]
        before = int(np.searchsorted(time_us, moment))
        at_once = (time_us == moment) & (item == item[place])
        if before:
            yield _past(item[:before], kind[:before], item[place], kind[at_once])


def _past(item: Ints, kind: Ints, target: int, target_kind: Ints) -> Past:
    """Return the newest distinct items of these events in the order of their last event."""
    distinct, newest = np.unique(item[::-1], return_index=True)
    behaviours = np.bincount(np.searchsorted(distinct, item), minlength=len(distinct))
    kinds = np.zeros(len(distinct), np.int64)
    np.bitwise_or.at(kinds, np.searchsorted(distinct, item), 1 << kind)
    order = np.argsort(-newest)[-MAX_HISTORY:]
    return Past(
        distinct[order],
        behaviours[order],
        kinds[order],
        int(target),
        int(np.bitwise_or.reduce(1 << target_kind)),
    )
