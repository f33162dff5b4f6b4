"""A request is answered with the bits that the batch path computes from the same events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import CONFIG, at, pair_table

from sail_features import columns as c
from sail_features.embeddings import EmbeddingTable, normalise, pack_column
from sail_features.errors import InputError
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.match_server import HISTORY, INTERESTS, MatchServer
from sail_features.feast_plugin.served_items import ServedItems
from sail_features.history import to_us
from sail_features.match.family import columns_of, feature_set_id
from sail_features.match.frame import compute_match_table
from sail_features.schemas import TIMESTAMP

HOUR_US = 3_600_000_000
START = to_us(at(0))
ENCODER = "hash-v1-16"


def server_of(ids: type) -> tuple[MatchServer, MatchDefinition, ServedItems]:
    """Return a server of six items, four with a category, and what it serves."""
    rng = np.random.default_rng(0)
    vectors = normalise(rng.normal(size=(6, 16))).astype(np.float16)
    vectors[1] = vectors[0]  # a tie of similarities
    known = np.sort(np.array([ids(item) for item in range(8, 14)]))
    table = EmbeddingTable(known, vectors, ENCODER, np.zeros(6, np.int64))
    items = ServedItems(table, np.array([0, 1, -1, 0, 1, -1]))
    definition = MatchDefinition(
        tables=Path("/nowhere"),
        encoder_id=ENCODER,
        feature_set_id="any",
        history=CONFIG.history,
        match=CONFIG.match.model_copy(update={"windows_days": (3,)}),
        edges=(-0.5, 0.0, 0.25),
        categories=True,
        interest_dim=16,
    )
    source = _Fixed(items)
    with patch("sail_features.feast_plugin.match_server.open_items", lambda _: source):
        return MatchServer(definition), definition, items


@dataclass
class _Fixed:
    items: ServedItems

    def of(self, ids: Any) -> ServedItems:
        return self.items

    def sample(self) -> ServedItems:
        return self.items


SERVERS = {ids: server_of(ids) for ids in (str, int)}

hours = st.integers(0, 20 * 24).map(lambda hour: START + hour * HOUR_US)
items = st.integers(6, 15)
events = st.tuples(items, hours, st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]))
# At most as many events as a history holds: then the batch path sees the same ones at any moment.
histories = st.dictionaries(
    st.integers(0, 3), st.lists(events, max_size=CONFIG.history.max_events), max_size=3
)
rows = st.lists(st.tuples(st.integers(0, 5), items, hours), min_size=1, max_size=12)
interests = st.dictionaries(st.integers(0, 5), st.integers(1, 4), max_size=3)


def request_of(ids: type, past: dict, mined: dict, asked: list) -> dict[str, list[Any]]:
    """Return what Feast hands to the view: nulls for who isn't in the online store."""
    ordered = {user: sorted(past[user], key=lambda e: (e[1], ids(e[0]), e[2])) for user in past}
    lists = {
        user: ([ids(e[0]) for e in events], [e[1] for e in events], [e[2] for e in events])
        for user, events in ordered.items()
    }
    seen = [lists.get(user, (None,) * 3) for user, _, _ in asked]
    found = [interest_row(user, mined) for user, _, _ in asked]
    return {
        c.USER_ID: [ids(user) for user, _, _ in asked],
        c.ITEM_ID: [ids(item) for _, item, _ in asked],
        "requested_at": [moment for _, _, moment in asked],
        **{name: [row[place] for row in seen] for place, name in enumerate(HISTORY)},
        **{name: [row[name] for row in found] for name in INTERESTS},
    }


def interest_row(user: int, mined: dict[int, int]) -> dict[str, Any]:
    if user not in mined:
        return dict.fromkeys(INTERESTS)
    count = mined[user]
    rng = np.random.default_rng(user)
    vectors = pack_column(normalise(rng.normal(size=(count, 16)))).to_pylist()
    return {
        c.INTEREST_VECTORS: b"".join(vectors),
        c.INTEREST_WEIGHTS: (np.ones(count, np.float32) / count).tolist(),
        c.INTEREST_SIZES: list(range(1, count + 1)),
        c.INTEREST_TIMES: [START + (user + k) * HOUR_US * 24 for k in range(count)],
        c.INTEREST_FEEDBACK: [0.5] * (count - 1) + [float("nan")],
    }


def batch_answers(ids: type, past: dict, mined: dict, asked: list) -> dict[str, np.ndarray]:
    """Return the batch path's answers, in the order asked."""
    _, definition, served = SERVERS[ids]
    kind = pa.string() if ids is str else pa.int64()
    lag = definition.window.lag_us
    keys = [(ids(user), ids(item), moment - lag) for user, item, moment in asked]
    told = [
        (ids(user), ids(item), time, weight)
        for user, events in past.items()
        for item, time, weight in events
    ]
    found = {user: interest_row(user, mined) for user in mined}
    known = [max(row[c.INTEREST_TIMES]) + 1 for row in found.values()]
    snapshots = pa.table(
        {
            c.USER_ID: pa.array([ids(user) for user in found], kind),
            c.EVENT_TIMESTAMP: pa.array(known, pa.int64()).cast(TIMESTAMP),
            c.AVAILABLE_AT: pa.array(known, pa.int64()).cast(TIMESTAMP),
            **{name: [row[name] for row in found.values()] for name in INTERESTS},
            c.DIM: [16] * len(found),
        }
    )
    table = compute_match_table(
        pair_table(sorted(set(keys)), kind),
        pair_table(told, kind) if told else pair_table([], kind),
        served.table,
        definition.features,
        definition.window,
        category=served.category,
        interests=snapshots if found else None,
    )
    place = {
        key: row
        for row, key in enumerate(
            zip(
                table[c.USER_ID].to_pylist(),
                table[c.ITEM_ID].to_pylist(),
                table[c.EVENT_TIMESTAMP].cast(pa.int64()).to_pylist(),
                strict=True,
            )
        )
    }
    order = [place[key] for key in keys]
    return {
        name: table[name].to_numpy()[order].astype(np.float32)
        for name in columns_of(definition.features)
    }


@pytest.mark.parametrize("ids", [str, int])
@given(past=histories, mined=interests, asked=rows)
def test_answers_have_the_bits_of_batch(ids: type, past: dict, mined: dict, asked: list) -> None:
    found = SERVERS[ids][0].answer(request_of(ids, past, mined, asked))
    for name, expected in batch_answers(ids, past, mined, asked).items():
        answer = np.array(found[name], np.float32)
        np.testing.assert_array_equal(answer.astype(np.float64), np.array(found[name]))
        np.testing.assert_array_equal(answer, expected, err_msg=name)


def a_request(**changes: list[Any]) -> dict[str, list[Any]]:
    past = {1: [(8, START + HOUR_US, 1.0), (9, START + 2 * HOUR_US, -1.0)]}
    asked = [(1, 8, START + 3 * HOUR_US)]
    return request_of(int, past, {1: 2}, asked) | changes


def value(name: str, **changes: list[Any]) -> float:
    return float(SERVERS[int][0].answer(a_request(**changes))[name][0])


def test_event_at_the_moment_less_the_lag_is_not_seen() -> None:
    lag = SERVERS[int][1].window.lag_us
    second = START + 2 * HOUR_US
    assert value("history_count", requested_at=[second + lag]) == 1
    assert value("history_count", requested_at=[second + lag + 1]) == 2


def test_no_moment_means_now() -> None:
    # Years after the world ended: nothing is within the lookback.
    assert value("history_count", requested_at=[None]) == 0


def test_unknown_user_has_counts_of_zero_and_no_similarity() -> None:
    unknown = {name: [None] for name in (*HISTORY, *INTERESTS)}
    assert value("history_count", **unknown) == 0
    assert np.isnan(value("sim_max", **unknown))


@pytest.mark.parametrize("item", [404, None])
def test_item_without_a_vector_has_nulls_alone(item: int | None) -> None:
    found = SERVERS[int][0].answer(a_request(item_id=[item]))
    assert all(np.isnan(values[0]) for values in found.values())


def test_interests_of_another_length_are_never_compared() -> None:
    later = [START + 100 * HOUR_US]
    assert not np.isnan(value("interest_similarity", requested_at=later))
    assert np.isnan(value("interest_similarity", requested_at=later, interest_vectors=[b"ab"]))


def test_history_of_unequal_lists_is_refused() -> None:
    with pytest.raises(InputError, match="not equally long"):
        SERVERS[int][0].answer(a_request(history_times=[[1]]))


def test_request_without_ids_is_answered_with_nulls() -> None:
    request = a_request()
    del request[c.USER_ID], request[c.ITEM_ID]
    assert all(np.isnan(values[0]) for values in SERVERS[int][0].answer(request).values())


def test_definition_keeps_its_bits_as_json() -> None:
    definition = SERVERS[int][1].model_copy(update={"edges": (0.1 + 0.2, 1 / 3)})
    again = MatchDefinition.model_validate_json(definition.model_dump_json())
    assert again == definition
    assert feature_set_id(again.features) == feature_set_id(definition.features)
