"""The loop: schedules, resuming to the same curve, the guard, and gradients in chunks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import training_world
from safetensors.torch import load_file

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.runs import Runs
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.errors import ConfigError, ModelError, TrainingError
from sail_features.training import length_groups
from sail_features.training.curve import CURVE, Curve, read_curve
from sail_features.training.loop import train
from sail_features.training.objective import TOTAL
from sail_features.training.pairs import PairDataset
from sail_features.training.settings import TrainSettings

SETTINGS = TrainSettings(steps=12, batch_size=24, warmup_steps=2, refresh_steps=4)


class StoppedError(Exception):
    """What a test stops a run with."""


def make_run(seed=0):
    """Return a model and two data sets, one of which mines hard negatives."""
    model = training_world.make_model(training_world.make_inputs()[0], seed)
    easy = training_world.make_objective(model, training_world.make_pairs(name="easy"))
    data = training_world.make_pairs(name="hard", seed=1)
    losses = {"hard_negatives": {"per_query": 2, "sample": 64}, "dropout": {"modality": 0.3}}
    return model, [easy, training_world.make_objective(model, data, **losses)]


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_lowers_the_loss(tmp_path):
    model, objectives = make_run()
    settings = SETTINGS.model_copy(update={"steps": 60})
    report = train(model, objectives, [1, 1], settings, tmp_path)
    first = [line["losses"][TOTAL] for line in read_curve(tmp_path) if line["objective"] == "easy"]
    assert report.losses["easy"] < 0.8 * first[0]
    assert report.resumed_from == 0


@pytest.mark.parametrize("stop", [4, 9])
def test_a_stopped_run_goes_on_to_the_same_weights_and_curve(tmp_path, stop):
    model, objectives = make_run()
    train(model, objectives, [2, 1], SETTINGS, tmp_path / "whole")
    expected = weights_of(model)

    def stop_there(report):
        if report.step == stop:
            raise StoppedError

    settings = SETTINGS.model_copy(update={"checkpoint_steps": 3})
    model, objectives = make_run()
    with pytest.raises(StoppedError):
        train(model, objectives, [2, 1], settings, tmp_path / "parts", on_step=stop_there)
    model, objectives = make_run(seed=7)  # other weights, which the checkpoint replaces
    report = train(model, objectives, [2, 1], settings, tmp_path / "parts")
    assert report.resumed_from == stop // 3 * 3
    assert_equal(weights_of(model), expected)
    assert read_curve(tmp_path / "parts") == read_curve(tmp_path / "whole")


def test_a_finished_run_is_read_and_not_repeated(tmp_path):
    model, objectives = make_run()
    train(model, objectives, [1, 1], SETTINGS, tmp_path)
    expected, again = weights_of(model), make_run(seed=7)
    steps = []
    report = train(*again, [1, 1], SETTINGS, tmp_path, on_step=steps.append)
    assert (report.resumed_from, steps) == (SETTINGS.steps, [])
    assert_equal(weights_of(again[0]), expected)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    model, objectives = make_run()
    train(model, objectives, [1, 1], SETTINGS, tmp_path)
    other = training_world.make_model(training_world.make_inputs()[0], layers=2)
    with pytest.raises(ModelError, match=r"another architecture: .*expected"):
        train(other, objectives, [1, 1], SETTINGS, tmp_path)


def test_a_checkpoint_of_other_settings_or_data_is_refused(tmp_path):
    model, objectives = make_run()
    train(model, objectives, [1, 1], SETTINGS, tmp_path)
    for change in ({"seed": 1}, {"learning_rate": 0.5}):
        with pytest.raises(ConfigError, match="a run of other settings"):
            train(model, objectives, [1, 1], SETTINGS.model_copy(update=change), tmp_path)
    with pytest.raises(ConfigError, match="a run of other weights"):
        train(model, objectives, [1, 2], SETTINGS, tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    train(*make_run(), [1, 1], SETTINGS, tmp_path)
    next(tmp_path.glob("checkpoint-*/tensors.safetensors")).write_bytes(b"half")
    with pytest.raises(ModelError, match="can't be read"):
        train(*make_run(), [1, 1], SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [([1], "weights"), ([0, 0], "weights"), ([1, -1], "weights"), ([1, np.nan], "weights")],
)
def test_weights_that_are_no_distribution_are_refused(tmp_path, weights, problem):
    with pytest.raises(ConfigError, match=problem):
        train(*make_run(), weights, SETTINGS, tmp_path)


def test_names_that_repeat_are_refused(tmp_path):
    model, objectives = make_run()
    with pytest.raises(ConfigError, match="distinct"):
        train(model, [objectives[0], objectives[0]], [1, 1], SETTINGS, tmp_path)


def test_a_loss_that_is_not_finite_stops_with_its_batch_saved(tmp_path):
    model, objectives = make_run()
    objective = objectives[0]
    honest = objective.loss
    calls = []

    def broken(model, drawn):
        calls.append(weights_of(model))
        losses = honest(model, drawn)
        return {**losses, TOTAL: losses[TOTAL] * (torch.nan if len(calls) == 4 else 1)}

    objective.loss = broken
    with pytest.raises(TrainingError, match=r"step 3, data set 'easy'.*isn't finite"):
        train(model, [objective], [1], SETTINGS, tmp_path)
    kept = tmp_path / "process-0" / "failed_step"
    drawn = load_file(kept / "batch.safetensors")
    places = drawn["drawn.places"].numpy()
    np.testing.assert_array_equal(drawn["drawn.queries"], objective.data.query.rows[places])
    assert json.loads((kept / "step.json").read_text())["losses"][TOTAL] == "nan"
    before = {f"model/{name}": value for name, value in calls[-1].items()}
    saved = load_file(kept / "weights.safetensors")
    assert_equal({name: saved[name] for name in before}, before)
    assert_equal(weights_of(model), calls[-1])


def test_the_other_data_set_alone_is_drawn_at_weight_zero(tmp_path):
    train(*make_run(), [0, 1], SETTINGS, tmp_path)
    assert {line["objective"] for line in read_curve(tmp_path)} == {"hard"}


def test_a_curve_forgets_steps_after_its_checkpoint_and_a_line_cut_off(tmp_path):
    lines = [json.dumps({"step": step}) for step in range(5)]
    (tmp_path / CURVE).write_text("\n".join(lines) + '\n{"ste')
    curve = Curve(tmp_path, 3)
    curve.add({"step": 3, "again": True})
    curve.close()
    assert [line["step"] for line in read_curve(tmp_path)] == [0, 1, 2, 3]
    assert read_curve(tmp_path)[-1]["again"]


@pytest.mark.parametrize("chunk_size", [1, 7, 24])
def test_gradients_in_chunks_are_those_of_the_whole_batch(chunk_size):
    found = []
    for size in (None, chunk_size):
        model = training_world.make_model(training_world.make_inputs()[0])
        losses = {"chunk_size": size, "hard_negatives": {"per_query": 2, "sample": 64}}
        objective = training_world.make_objective(model, **losses)
        objective.refresh(model, np.random.default_rng(1))
        losses = objective.loss(model, objective.draw(np.random.default_rng(0), 24))
        losses[TOTAL].backward()
        parameters = [*model.named_parameters(), *objective.extra.named_parameters()]
        found.append((losses, {name: p.grad for name, p in parameters}))
    (plain, expected), (chunked, gradients) = found
    torch.testing.assert_close(dict(chunked), dict(plain))
    assert all(value is not None for value in expected.values())
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)


def test_bfloat16_trains_and_keeps_float32_weights(tmp_path):
    model, objectives = make_run()
    settings = SETTINGS.model_copy(update={"dtype": "bfloat16"})
    report = train(model, objectives, [1, 1], settings, tmp_path)
    assert all(np.isfinite(value) for value in report.losses.values())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("chunk_size", [None, 40])
def test_items_of_like_length_together_give_the_vectors_and_gradients_of_all_at_once(
    monkeypatch, chunk_size
):
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 50, rng.integers(1, 12)) for _ in range(90)]
    inputs = ItemInputs(np.arange(90), {}, {}, Runs.of(texts))
    settings = OmniSettings(
        hidden=16, layers=1, heads=2, matryoshka=(16,), text_tokens=True, vocabulary=50
    )
    ids = rng.integers(0, 90, (2, 200))
    data = PairDataset.from_ids("texts", inputs, inputs, (ids[0], ids[1]))
    found = []
    for group in (1000, 8):
        monkeypatch.setattr(length_groups, "GROUP", group)
        torch.manual_seed(0)
        model = OmniModel(settings)
        objective = training_world.make_objective(model, data, chunk_size=chunk_size)
        losses = objective.loss(model, objective.draw(np.random.default_rng(0), 70))
        losses[TOTAL].backward()
        found.append((dict(losses), {n: p.grad for n, p in model.named_parameters()}))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
