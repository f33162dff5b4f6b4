"""The embedding table: its invariants, its look-ups, its copy on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.embeddings import (
    EmbeddingTable,
    load_embedding_table,
    normalise,
    pack_column,
    unpack_vectors,
)
from sail_features.errors import ConfigError, InputError


def table_of(ids, vectors=None, times=None) -> EmbeddingTable:
    ids = np.array(ids)
    if vectors is None:
        vectors = normalise(np.random.default_rng(0).standard_normal((len(ids), 8)))
    times = np.arange(len(ids)) if times is None else times
    return EmbeddingTable(ids, vectors, "test", np.asarray(times, np.int64))


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"], [2, 1], [1, 1]])
def test_ids_must_be_sorted_and_unique(ids):
    with pytest.raises(InputError, match="repeat or aren't sorted"):
        table_of(ids)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 1e30])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_vector_that_is_no_unit_vector_is_refused_by_id(bad, dtype):
    vectors = np.eye(3, dtype=dtype)
    with np.errstate(over="ignore"):
        vectors[1, 1] = bad
    with pytest.raises(InputError, match=r"1 vectors are not finite or have no length: items b"):
        table_of(["a", "b", "c"], vectors)


@pytest.mark.parametrize(
    ("vectors", "times"), [(np.eye(3), [0, 0]), (np.eye(2), [0, 0, 0]), (np.ones(2), [0, 0])]
)
def test_shapes_must_agree(vectors, times):
    with pytest.raises(InputError, match="one vector and one time"):
        table_of(["a", "b"], vectors, times)


@pytest.mark.parametrize("dim", [8, 384, 8192])
def test_half_precision_unit_vectors_are_accepted_in_any_dimension(dim):
    vectors = normalise(np.random.default_rng(0).standard_normal((20, dim)))
    stored = unpack_vectors(pack_column(vectors).to_pylist(), dim)
    table = table_of(range(20), stored)
    assert np.abs(np.sum(table.take(np.arange(20)) * vectors, axis=1) - 1).max() < 2e-3


@given(st.sets(st.integers(-50, 50)), st.lists(st.integers(-60, 60)))
def test_rows_of_ids_are_those_a_dictionary_finds(known, asked):
    known = sorted(known)
    table = table_of(np.array(known, np.int64))
    expected = [known.index(item) if item in known else -1 for item in asked]
    assert table.rows_of(np.array(asked, np.int64)).tolist() == expected


def test_rows_of_strings_longer_than_any_known_one():
    table = table_of(["a", "ab"])
    assert table.rows_of(np.array(["ab", "abc", "", "z"])).tolist() == [1, -1, -1, -1]


def test_saved_table_comes_back_memory_mapped(tmp_path):
    table = table_of(["a", "ü", "茶"])
    table.save(tmp_path / "vectors")
    back = load_embedding_table(tmp_path / "vectors")
    assert isinstance(back.vectors, np.memmap)
    assert back.ids.tolist() == table.ids.tolist()
    assert back.encoder_id == "test"
    assert back.available_at_us.tolist() == [0, 1, 2]
    assert np.abs(back.take(np.array([2, 0])) - table.take(np.array([2, 0]))).max() < 1e-3
    assert back.take(np.array([0])).dtype == np.float32


def test_half_saved_table_is_refused(tmp_path):
    table_of(["a"]).save(tmp_path)
    (tmp_path / "meta.json").unlink()
    with pytest.raises(ConfigError, match=r"meta\.json: no such file"):
        load_embedding_table(tmp_path)


def test_meta_says_what_is_inside(tmp_path):
    table_of(["a", "b"]).save(tmp_path)
    assert json.loads((tmp_path / "meta.json").read_text()) == {
        "encoder_id": "test", "items": 2, "dim": 8,
    }  # fmt: skip


def test_placebo_moves_vectors_and_leaves_all_else():
    table = table_of(range(100))
    placebo = table.permuted(0)
    assert placebo.ids is table.ids
    assert placebo.available_at_us is table.available_at_us
    moved = (placebo.vectors != table.vectors).any(axis=1)
    assert moved.sum() > 90
    assert sorted(map(bytes, placebo.vectors)) == sorted(map(bytes, table.vectors))
    assert np.array_equal(placebo.vectors, table.permuted(0).vectors)
    assert not np.array_equal(placebo.vectors, table.permuted(1).vectors)


def test_vector_without_a_finite_length_becomes_missing():
    rows = np.array([[0, 0], [np.nan, 1], [np.inf, 1], [3e38, 3e38], [0, -2]], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = normalise(rows)
    assert np.isnan(scaled[:4]).any(axis=1).all()
    assert scaled[4].tolist() == [0, -1]


def test_packed_bytes_are_little_endian_half_floats():
    assert pack_column(np.array([[1.0, -2.0]])).to_pylist() == [b"\x00\x3c\x00\xc0"]
    assert unpack_vectors([], 3).shape == (0, 3)


def test_prefix_keeps_the_first_numbers_at_length_one():
    vectors = normalise(np.random.default_rng(0).standard_normal((5, 12)))
    table = EmbeddingTable(np.arange(5), vectors, "test", np.arange(5))
    short = table.prefix(8)
    expected = vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(short.vectors, expected, rtol=1e-6)
    assert short.available_at_us.tolist() == table.available_at_us.tolist()
    with pytest.raises(ConfigError, match="asks for 13 numbers of vectors of 12"):
        table.prefix(13)
