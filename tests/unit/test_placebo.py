"""Vectors that say nothing of their items."""

from __future__ import annotations

import numpy as np
import pytest

from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.placebo import Placebo, draw_vectors


@pytest.fixture
def table():
    draw = np.random.default_rng(0)
    vectors = normalise(draw.normal(size=(200, 64)) + 2)
    return EmbeddingTable(np.arange(200), vectors, "one", np.arange(200))


@pytest.mark.parametrize("kind", ["permuted", "random"])
def test_ids_and_times_stay_and_vectors_go(table, kind):
    placebo = Placebo(kind, 0).apply(table)
    assert placebo.ids is table.ids
    assert placebo.available_at_us is table.available_at_us
    assert (placebo.vectors != table.vectors).any(axis=1).mean() > 0.9
    assert np.array_equal(placebo.vectors, Placebo(kind, 0).apply(table).vectors)
    assert not np.array_equal(placebo.vectors, Placebo(kind, 1).apply(table).vectors)


def test_random_vectors_are_unit_and_point_anywhere(table):
    """The table's own vectors lie close together, and so do permuted ones."""
    drawn = Placebo("random", 0).apply(table).vectors
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-6)
    between = (drawn @ drawn.T)[~np.eye(200, dtype=bool)]
    assert abs(between.mean()) < 0.01
    assert between.std() == pytest.approx(1 / np.sqrt(64), rel=0.05)


def test_a_vector_depends_on_its_id_alone():
    ids = ["a", "ä", "b" * 40]
    whole = draw_vectors(ids, 8, 3)
    for place, name in enumerate(ids):
        assert np.array_equal(draw_vectors([name], 8, 3)[0], whole[place])
    assert len({row.tobytes() for row in whole}) == 3
    assert draw_vectors([], 8, 3).shape == (0, 8)
