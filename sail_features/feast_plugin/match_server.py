"""Match features of one request: what the on-demand view calls, in any process.

A request is a dictionary of equally long lists, one entry a row, as Feast hands it to a
view of mode ``python``: user and item ids, the users' histories, and the moments. It is
worked off at once by the kernel of the match job; no Python loop goes over events.

Cost of 100 items against a history of 50 at 384 dimensions: see
`benchmarks/results/online.json`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.served_items import ServedItems, open_items
from sail_features.feast_plugin.versions import RegistryError
from sail_features.history import times_of
from sail_features.interests.snapshots import InterestSnapshots
from sail_features.match.block import Floats, MatchFeature
from sail_features.match.events import MatchLog, sort_history
from sail_features.match.family import columns_of
from sail_features.match.frame import snapshots_of
from sail_features.match.kernel import compute_match
from sail_features.match.sorted_rows import MatchRows

REQUESTED_AT: Final = "requested_at"
HISTORY: Final = (c.HISTORY_ITEM_IDS, c.HISTORY_TIMES, c.HISTORY_WEIGHTS)
INTERESTS: Final = (
    c.INTEREST_VECTORS,
    c.INTEREST_WEIGHTS,
    c.INTEREST_SIZES,
    c.INTEREST_TIMES,
    c.INTEREST_FEEDBACK,
)

Request = Mapping[str, Sequence[Any]]
Integers = NDArray[np.int64]


@lru_cache(maxsize=4)
def match_server(definition: str) -> MatchServer:
    """Return the process's server of a definition, given as JSON.

    Raises
    ------
    RegistryError
        Another version of this package made the definition.
    """
    try:
        read = MatchDefinition.model_validate_json(definition)
    except ValidationError as error:
        raise RegistryError.definition_unreadable("user_item_match_online", error) from error
    return MatchServer(read)


class MatchServer:
    """Answers requests with the features of one definition.

    Parameters
    ----------
    definition : what the batch table was computed with.
    features : those of the definition to answer with; None for all.

    Notes
    -----
    Opens the item vectors and runs the kernel once on a made-up request, so that compiled
    code is loaded (`numba` keeps it in ``__pycache__`` or ``NUMBA_CACHE_DIR``) before the
    first real one. Safe for threads.
    """

    def __init__(
        self, definition: MatchDefinition, features: Sequence[MatchFeature] | None = None
    ) -> None:
        self._definition = definition
        self._features = definition.features if features is None else features
        self._columns = columns_of(self._features)
        self._items = open_items(definition)
        sample = self._items.sample()
        self._compute(_rehearsal(sample, definition.interest_dim or 1), lambda _: sample)

    def answer(self, request: Request) -> dict[str, list[Any]]:
        """Return one list a feature, NaN where it is missing.

        Parameters
        ----------
        request : lists of ``user_id``, ``item_id``, ``requested_at`` (microseconds since
            1970 UTC; null: now), the columns of ``user_history`` and, where interests are
            matched, those of ``user_interest``. Without ids, as Feast sends it while a
            view is applied, all answers are missing.

        Raises
        ------
        InputError
            A stored history whose lists are not equally long.
        """
        if c.USER_ID not in request or c.ITEM_ID not in request:
            missing = [np.float32("nan")] * len(request[REQUESTED_AT])
            return dict.fromkeys(self._columns, missing)
        values = self._compute(request, self._items.of)
        return dict(zip(self._columns, values.T.tolist(), strict=True))

    def _compute(self, request: Request, find: Callable[[Sequence[Any]], ServedItems]) -> Floats:
        """Return shape (rows, features)."""
        user, first = _number(request[c.USER_ID])
        ids = list(chain(*(request[c.HISTORY_ITEM_IDS][row] or () for row in first)))
        shown = [item for item in request[c.ITEM_ID] if item is not None]
        items = find(ids + shown)
        log, target = _read_events(request, first, ids + shown, items)
        mined = self._read_interests(request, first, items.table.dim)
        window = self._definition.window
        return compute_match(
            MatchRows(user, target, _moments(request[REQUESTED_AT]) - window.lag_us),
            log,
            items.table,
            self._features,
            window,
            category=items.category,
            interests=mined,
        ).values

    def _read_interests(
        self, request: Request, first: Sequence[int], dim: int
    ) -> InterestSnapshots | None:
        """Return the interests of each user, vectors of another length left out."""
        stored = self._definition.interest_dim
        if stored is None:
            return None
        found = {name: [request[name][row] for row in first] for name in INTERESTS}
        sizes = zip(found[c.INTEREST_VECTORS], found[c.INTEREST_WEIGHTS], strict=True)
        users = [
            user
            for user, (packed, weights) in enumerate(sizes)
            if packed and len(packed) == 2 * stored * len(weights)
        ]
        if not users:
            return None
        found = {name: [values[user] for user in users] for name, values in found.items()}
        # Known since just after its newest event: the view doesn't hand on the row's own time.
        known = times_of(np.array([max(t, default=0) + 1 for t in found[c.INTEREST_TIMES]], "i8"))
        stamped = {c.EVENT_TIMESTAMP: known, c.AVAILABLE_AT: known, c.DIM: [stored] * len(users)}
        return snapshots_of(pa.table(found | stamped), np.array(users, np.int64), dim)


def _number(users: Sequence[Hashable]) -> tuple[Integers, list[int]]:
    """Return each row's user as a number, and the first row of each number."""
    numbers: dict[Hashable, int] = {}
    user = np.array([numbers.setdefault(user, len(numbers)) for user in users], np.int64)
    return user, np.unique(user, return_index=True)[1].tolist()


def _read_events(
    request: Request, first: Sequence[int], ids: Sequence[Any], items: ServedItems
) -> tuple[MatchLog, Integers]:
    """Return the users' events, and for each row of the request its item's vector.

    ``ids`` are those of all events and of the rows whose item is not null, end to end.
    """
    listed, times, weights = ([request[name][row] or () for row in first] for name in HISTORY)
    lengths = [len(events) for events in listed]
    if not lengths == [len(events) for events in times] == [len(events) for events in weights]:
        raise InputError.say(
            "user_history",
            "a row whose lists of items, times and weights are not equally long",
            hint="run `sail-features history` and materialize it again",
        )
    distinct, code = np.unique(np.array(ids), return_inverse=True)
    vector_row, events = items.table.rows_of(distinct), sum(lengths)
    target = np.full(len(request[c.ITEM_ID]), -1, np.int64)
    target[[item is not None for item in request[c.ITEM_ID]]] = vector_row[code[events:]]
    log = sort_history(
        np.repeat(np.arange(len(first)), lengths),
        code[:events],
        np.array(list(chain(*times)), np.int64),
        np.array(list(chain(*weights)), np.float32),
        vector_row,
    )
    return log, target


def _moments(requested_at: Sequence[int | None]) -> Integers:
    """Return when each row was requested, in microseconds since 1970 UTC."""
    now = time.time_ns() // 1_000
    return np.array([now if moment is None else moment for moment in requested_at], np.int64)


def _rehearsal(items: ServedItems, interest_dim: int) -> Request:
    """Return a request of one user who did something with an item, about that item."""
    item, now = items.table.ids[0].item(), time.time_ns() // 1_000
    one = np.ones(1, np.float32)
    vector = np.eye(1, interest_dim, dtype="<f2").tobytes()
    interest = (vector, one, [1], [now - 1], one)
    return {
        c.USER_ID: [0],
        c.ITEM_ID: [item],
        REQUESTED_AT: [now],
        **dict(zip(HISTORY, [[[item]], [[now - 1]], [[1.0]]], strict=True)),
        **{name: [value] for name, value in zip(INTERESTS, interest, strict=True)},
    }
