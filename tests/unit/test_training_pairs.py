"""Pairs: what is refused before training, which losses a batch has, and what is no negative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_world

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.errors import InputError
from sail_features.training.dropout import DropoutSettings, drop_parts
from sail_features.training.objective import TOTAL
from sail_features.training.pairs import PairDataset


def make_inputs(**arrays):
    ids = np.array(["a", "b", "c", "d"])
    rows = {m: np.eye(4) if v is None else np.asarray(v, float) for m, v in arrays.items()}
    return ItemInputs.from_arrays(ids, rows)


def pair(queries, targets, inputs, **changes):
    ids = (np.array(list(queries)), np.array(list(targets)))
    return PairDataset.from_ids("made", inputs, inputs, ids, **changes)


def without(*rows):
    vectors = np.eye(4)
    vectors[list(rows)] = np.nan
    return vectors


def test_unknown_items_are_refused_by_name():
    with pytest.raises(InputError, match=r"'made': pairs name 2 items .*: x, y"):
        pair("axa", "bby", make_inputs(text=None))


def test_pairs_of_unknown_items_are_dropped_where_that_is_asked():
    data = pair("axab", "bbyc", make_inputs(text=None), on_missing="drop")
    assert data.query.rows.tolist() == [0, 1]
    assert data.target.rows.tolist() == [1, 2]


def test_a_declared_modality_that_the_items_lack_is_refused():
    with pytest.raises(InputError, match=r"target: declares audio, but its items have text"):
        pair("ab", "bc", make_inputs(text=None), target_modalities=["audio"])


@pytest.mark.parametrize("on_missing", ["raise", "drop"])
def test_a_pattern_of_a_modality_that_the_side_does_not_show_is_refused(on_missing):
    inputs = make_inputs(text=None, vision=None)
    with pytest.raises(InputError, match=r"query: declares vision, but its items have text"):
        pair(
            "ab", "bc", inputs, query_modalities=["text"], patterns=[("vision", "text")],
            on_missing=on_missing,
        )  # fmt: skip


def test_pairs_without_a_possible_pattern_are_refused_or_dropped():
    inputs = make_inputs(text=None, vision=without(1))
    asked = {"patterns": [("vision", "text")]}
    with pytest.raises(InputError, match=r"1 pairs have none of the patterns"):
        pair("abc", "bcd", inputs, **asked)
    assert pair("abc", "bcd", inputs, **asked, on_missing="drop").query.rows.tolist() == [0, 2]


def test_too_few_pairs_and_grades_that_are_not_finite_are_refused():
    inputs = make_inputs(text=None)
    with pytest.raises(InputError, match="at least two pairs"):
        pair("a", "b", inputs)
    with pytest.raises(InputError, match="grades aren't all finite"):
        pair("ab", "bc", inputs, grades=np.float32([1, np.nan]))
    with pytest.raises(InputError, match="is graded and has the patterns"):
        pair("ab", "bc", inputs, grades=np.float32([1, 2]), patterns=[("text", "text")])


def test_known_pairs_and_an_item_itself_are_no_negatives():
    data = pair("aab", "bcc", make_inputs(text=None))
    found = data.known_among(np.array([0, 1, 3]), np.array([1, 2, 3]))
    assert sorted(zip(*found.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)]


def test_a_pair_counts_in_just_the_patterns_that_it_has():
    inputs = make_inputs(text=None, vision=without(1, 2))
    data = pair("ab", "bc", inputs, patterns=[("fused", "fused"), ("vision", "text")])
    assert data.valid.tolist() == [[True, True], [True, False]]


def test_the_total_is_the_mean_over_possible_patterns_and_its_weighted_parts():
    data = training_world.make_pairs()
    model = training_world.make_model(data.query.inputs)
    objective = training_world.make_objective(model, data, in_context=0.3, late_fusion=0.7)
    losses = objective.loss(model, objective.draw(np.random.default_rng(0), 24))
    found = {name: value.item() for name, value in losses.items()}
    nce = (found["fused-fused"] + found["vision-text"]) / 2
    assert found["nce"] == pytest.approx(nce, rel=1e-5)
    total = nce + 0.3 * found["in_context"] + 0.7 * found["late_fusion"]
    assert found[TOTAL] == pytest.approx(total, rel=1e-5)


def test_an_absent_modality_is_no_part_of_any_loss():
    """What stands in the place of a missing sound must not matter."""
    data = training_world.make_pairs(patterns=[("fused", "fused"), ("audio", "text")])
    model = training_world.make_model(data.query.inputs)
    objective = training_world.make_objective(model, data)
    drawn = objective.draw(np.random.default_rng(0), 60)
    has = data.query.has("audio")
    assert not has[drawn.places].all()
    model.zero_grad()
    lacking = np.flatnonzero(~has[drawn.places])
    only = type(drawn)(drawn.places[lacking], drawn.queries[lacking], drawn.targets[lacking])
    losses = objective.loss(model, only)
    assert losses["audio-text"] == 0
    losses[TOTAL].backward()
    assert torch.isfinite(model.adapters["audio"].project.weight.grad).all()


def test_graded_pairs_are_trained_by_cosent_alone():
    grades = np.random.default_rng(0).random(300).astype(np.float32)
    data = training_world.make_pairs(grades=grades, patterns=[("fused", "fused")])
    model = training_world.make_model(data.query.inputs)
    objective = training_world.make_objective(model, data)
    losses = objective.loss(model, objective.draw(np.random.default_rng(0), 16))
    assert set(losses) == {TOTAL, "cosent"}


def test_mined_negatives_make_the_loss_harder():
    data = training_world.make_pairs()
    model = training_world.make_model(data.query.inputs)
    plain = training_world.make_objective(model, data)
    mined = training_world.make_objective(model, data, hard_negatives={"per_query": 3})
    mined.refresh(model, np.random.default_rng(0))
    drawn = plain.draw(np.random.default_rng(0), 16)
    name = "fused-fused"
    assert mined.loss(model, drawn)[name] > plain.loss(model, drawn)[name]
    assert mined.loss(model, drawn)["vision-text"] == plain.loss(model, drawn)["vision-text"]


def test_a_draw_depends_on_its_generator_alone_and_repeats_nothing_it_need_not():
    objective = training_world.make_objective(
        training_world.make_model(training_world.make_inputs()[0])
    )
    first, again = (objective.draw(np.random.default_rng(5), 200) for _ in range(2))
    np.testing.assert_array_equal(first.places, again.places)
    assert len(np.unique(first.places)) == 200
    assert len(objective.draw(np.random.default_rng(5), 400).places) == 400


def test_dropout_hides_modalities_of_items_but_never_all_of_them():
    inputs, _ = training_world.make_inputs()
    batch = inputs.take(np.arange(training_world.ITEMS))
    torch.manual_seed(0)
    dropped = drop_parts(batch, DropoutSettings(field=0.5, modality=0.6))
    has = torch.stack([dropped.has(m) for m in training_world.MODALITIES])
    had = torch.stack([batch.has(m) for m in training_world.MODALITIES])
    assert has.any(dim=0).all()
    assert not (has & ~had).any()
    assert 0.2 < has.float().mean() < 0.7
    same = drop_parts(batch, DropoutSettings(field=0, modality=0))
    assert all(torch.equal(same.mask[m], batch.mask[m]) for m in batch.mask)
