"""Cosines: right, and of the same bits whatever they are computed together with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.embeddings import normalise
from sail_features.match.similarity import EVENTS_AHEAD, compute_similarity
from sail_features.match.torch_kernel import TorchSimilarity


def pairs_of(start, stop):
    """Return the row and the event of each cell."""
    return [
        (row, event)
        for row, edges in enumerate(zip(start.tolist(), stop.tolist(), strict=True))
        for low, high in zip(*edges, strict=True)
        for event in range(low, high)
    ]


@st.composite
def problems(draw):
    """Rows whose stretches ascend, with gaps, overlaps and empty ones."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    rows, events = draw(st.integers(1, 12)), draw(st.integers(0, 30))
    shape = rows, draw(st.sampled_from([1, 3]))
    start = np.sort(rng.integers(0, events + 1, shape), axis=0)
    stop = np.minimum(start + rng.integers(0, 12, shape), events)
    stop = np.maximum.accumulate(stop, axis=0)
    stop = np.maximum(stop, start)
    vectors = normalise(rng.standard_normal((9, draw(st.sampled_from([1, 7, 8, 9, 33])))))
    vectors = vectors.astype(draw(st.sampled_from([np.float16, np.float32])))
    return vectors, rng.integers(-1, 9, rows), rng.integers(0, 9, events), start, stop


@given(problem=problems())
def test_cosines_are_those_of_numpy_and_stand_alone(problem):
    vectors, target, history, start, stop = problem
    found = compute_similarity(vectors, target, vectors, history, start, stop)
    for value, (row, event) in zip(found, pairs_of(start, stop), strict=True):
        alone = compute_similarity(
            vectors,
            target[row : row + 1],
            vectors,
            history[event : event + 1],
            np.array([[0]]),
            np.array([[1]]),
        )
        assert value == alone[0]
        if target[row] < 0:
            assert value == 0
        else:
            exact = vectors[target[row]].astype(float) @ vectors[history[event]].astype(float)
            assert value == pytest.approx(exact, abs=1e-6)


@given(problem=problems())
def test_torch_agrees_within_its_promise(problem):
    found = TorchSimilarity("cpu")(problem[0], problem[1], problem[0], *problem[2:])
    expected = compute_similarity(problem[0], problem[1], problem[0], *problem[2:])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_scratch_is_refilled_where_a_history_outgrows_it():
    rng = np.random.default_rng(0)
    vectors = normalise(rng.standard_normal((50, 16))).astype(np.float16)
    events = 5 * EVENTS_AHEAD
    history = rng.integers(0, 50, events)
    stop = np.sort(rng.integers(0, events, 900))
    start = np.maximum(stop - rng.integers(30, 31, 900), 0)
    target = rng.integers(0, 50, 900)
    start, stop = start[:, None], stop[:, None]
    found = compute_similarity(vectors, target, vectors, history, start, stop)
    row, event = np.array(pairs_of(start, stop)).T
    table = vectors.astype(np.float32) @ vectors.astype(np.float32).T
    np.testing.assert_allclose(found, table[target[row], history[event]], atol=1e-6)


def test_every_finite_float16_is_decoded_exactly():
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = bits.view(np.float16)[np.isfinite(bits.view(np.float16))]
    one = np.ones((1, 1), np.float32)
    zero, count = np.zeros((1, 1), int), np.array([[len(numbers)]])
    decoded = compute_similarity(
        one, zero[0], numbers[:, None], np.arange(len(numbers)), zero, count
    )
    np.testing.assert_array_equal(decoded, numbers.astype(np.float32))
