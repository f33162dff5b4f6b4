"""The omni-modal model: any subset of modalities, one trunk, the mean of its tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from omni_models import DIMS, random_inputs, random_model, small_settings  # noqa: E402

from sail_features.encoders.omni.batch import OmniBatch  # noqa: E402
from sail_features.encoders.omni.inputs import ItemInputs  # noqa: E402
from sail_features.encoders.omni.model import OmniModel  # noqa: E402
from sail_features.encoders.omni.runs import Runs  # noqa: E402
from sail_features.encoders.omni.settings import (  # noqa: E402
    PRESETS,
    OmniSettings,
    Tower,
    from_preset,
)
from sail_features.errors import ConfigError, ModelError  # noqa: E402

ALL = np.arange(12)


@pytest.fixture(scope="module")
def inputs():
    return random_inputs()


@pytest.fixture(scope="module")
def model(inputs):
    return random_model(small_settings(inputs))


def full_batch(items: int = 5, **tokens: int) -> OmniBatch:
    """Return a batch in which every item has everything, several tokens of some."""
    generator = torch.Generator().manual_seed(1)
    features = {
        name: torch.randn(items, tokens.get(name, 1), dim, generator=generator)
        for name, dim in DIMS.items()
    }
    mask = {name: torch.ones(value.shape[:2], dtype=torch.bool) for name, value in features.items()}
    return OmniBatch(features, mask)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_fused_is_the_mean_of_tanh_over_all_tokens(model):
    batch = full_batch()
    tokens = torch.cat(
        [model.adapters[name](batch.features[name], batch.mask[name])[0] for name in DIMS], dim=1
    )
    states = model.trunk(tokens, torch.ones(5, 3, dtype=torch.bool)).tanh()
    found = model(batch)
    assert_close(found.fused, states.mean(dim=1))
    for place, name in enumerate(DIMS):
        assert_close(found.in_context[name], states[:, place])
        assert_close(found.before[name], tokens[:, place])


@pytest.mark.parametrize("kept", [("audio",), ("vision",), ("text",), ("audio", "text")])
def test_a_hidden_modality_and_a_missing_one_are_the_same(model, kept):
    batch = full_batch()
    mask = {name: there & (name in kept) for name, there in batch.mask.items()}
    assert_close(model(batch.keep(kept)).fused, model(replace(batch, mask=mask)).fused)
    assert set(model(batch.keep(kept)).in_context) == set(kept)


def test_a_vector_does_not_depend_on_its_batch(model, inputs):
    together = model(inputs.take(ALL)).fused
    alone = torch.cat([model(inputs.take(ALL[row : row + 1])).fused for row in ALL])
    assert_close(together, alone)
    assert_close(model(inputs.take(ALL[::-1].copy())).fused.flip(0), together)


def test_every_modality_that_an_item_has_changes_its_vector(model, inputs):
    batch = inputs.take(ALL)
    everything = model(batch).fused
    for name in DIMS:
        others = [other for other in DIMS if other != name]
        moved = (model(batch.keep(others)).fused - everything).abs().amax(1) > 1e-3
        assert torch.equal(moved, batch.has(name))


def test_what_an_item_lacks_is_a_row_of_zeros_and_never_nan(model, inputs):
    batch = inputs.take(ALL)
    assert not batch.has("audio").all() or not batch.has("text").all()
    for name in DIMS:
        found = model(batch.keep({name})).fused
        assert torch.equal(found.abs().sum(1) > 0, batch.has(name))
        assert torch.equal(model(batch).in_context[name].abs().sum(1) > 0, batch.has(name))
    nothing = batch.keep(())
    assert torch.equal(model(nothing).fused, torch.zeros(12, 24))
    assert not any(nothing.has(name).any() for name in DIMS)
    model(nothing).fused.sum().backward()
    assert all(torch.isfinite(w.grad).all() for w in model.parameters() if w.grad is not None)


def test_training_in_bf16_is_near_and_bears_items_without_anything(inputs):
    model = random_model(small_settings(inputs)).train()
    batch = inputs.take(ALL)
    for name, there in batch.mask.items():
        there[0] = False
        assert not batch.has(name)[0]
    exact = model(batch).fused.detach()
    with torch.autocast("cpu", torch.bfloat16):
        fused = model(batch).fused
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused, exact, atol=0.05, rtol=0)
    fused.pow(2).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_an_untrained_model_keeps_the_cosines_of_its_tower():
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(200, 64)) + rng.normal(size=(8, 64)).repeat(25, 0)
    inputs = ItemInputs.from_arrays(np.arange(200), {"text": texts})
    settings = inputs.bind(from_preset("tiny", hidden=64, matryoshka=(64,)))
    torch.manual_seed(0)
    batch = inputs.take(np.arange(200))
    unit = torch.nn.functional.normalize
    before = batch.features["text"][:, 0]
    after = unit(OmniModel(settings)(batch).fused.detach())
    assert np.corrcoef((before @ before.T).ravel(), (after @ after.T).ravel())[0, 1] > 0.95


def test_untrained_queries_pass_on_what_an_item_shows():
    tower = Tower(dim=16, tokens=2, queries=2)
    torch.manual_seed(0)
    model = OmniModel(from_preset("tiny", hidden=24, matryoshka=(24,), towers={"vision": tower}))
    frames = torch.randn(6, 2, 16)
    batch = OmniBatch({"vision": frames}, {"vision": torch.ones(6, 2, dtype=torch.bool)})
    assert (model(batch).fused.std(dim=0) > 1e-2).all()


@pytest.mark.parametrize("queries", [0, 3])
def test_frames_are_tokens_or_go_through_learned_queries(queries):
    tower = Tower(dim=16, tokens=5, queries=queries)
    model = random_model(from_preset("tiny", hidden=24, matryoshka=(24,), towers={"vision": tower}))
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(count, 16)).astype(np.float32) for count in (5, 0, 2, 1)]
    inputs = ItemInputs(np.arange(4), {"vision": Runs.of(frames)}, {})
    batch = inputs.take(np.arange(4))
    assert batch.mask["vision"].sum(1).tolist() == [5, 0, 2, 1]
    found = model(batch).fused
    assert torch.equal(found[1], torch.zeros(24))
    alone = torch.cat([model(inputs.take(np.array([row]))).fused for row in range(4)])
    assert_close(found, alone)
    turned = replace(batch, features={"vision": batch.features["vision"].flip(1)})
    assert (model(turned).fused[0] - found[0]).abs().max() < 1e-5  # positions begin at zero
    with torch.no_grad():
        adapter = model.adapters["vision"]
        getattr(adapter, "adapter", adapter).position.normal_()
    assert (model(turned).fused[0] - model(batch).fused[0]).abs().max() > 1e-3


def test_recomputing_gives_the_same_gradients(inputs):
    model = random_model(small_settings(inputs)).train()
    gradients = []
    for on in (False, True):
        model.recompute(on)
        model.zero_grad()
        model(inputs.take(ALL)).fused.pow(2).sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other)


def test_every_weight_learns(inputs):
    with_ids = replace(inputs, text_ids=Runs.of([np.arange(row % 4) for row in ALL]))
    settings = small_settings(with_ids, text_tokens=True, vocabulary=50)
    model = random_model(settings).train()
    model(with_ids.take(ALL)).fused.pow(2).sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_text_tokens_are_read_in_their_order(inputs):
    ids = Runs.of([np.array([1, 2, 3])] * 6 + [np.array([3, 2, 1])] * 6)
    heard = replace(inputs, vectors={"audio": inputs.vectors["audio"]}, text_ids=ids)
    model = random_model(small_settings(heard, text_tokens=True, vocabulary=50))
    with torch.no_grad():
        model.table.places.weight.normal_()
    batch = heard.take(ALL).keep({"text"})
    found = model(batch).fused
    assert_close(found[0], found[5])
    assert (found[0] - found[6]).abs().max() > 1e-3
    assert batch.has("text").all()


def test_settings_that_contradict_each_other_are_refused(inputs):
    for changes, said in (
        ({"hidden": 30}, "isn't a multiple of heads"),
        ({"matryoshka": (64, 32, 128)}, "doesn't rise"),
        ({"matryoshka": (32, 64)}, "expected hidden"),
        ({"instruction": "find"}, "instruction needs text_tokens"),
        ({"towers": {"text": {"kind": "audio", "dim": 4}}}, "audio encoder reads no text"),
        ({"towers": {"audio": {"kind": "audio", "dim": 4, "reads": "frames"}}}, "has no frames"),
        ({"layer": 3}, "layer"),
    ):
        with pytest.raises(ConfigError, match=said):
            from_preset("tiny", **changes)
    with pytest.raises(ConfigError, match="unknown 'huge'"):
        from_preset("huge")
    with pytest.raises(ModelError, match="reads nothing"):
        OmniModel(OmniSettings())


def test_a_batch_of_another_model_is_refused(model):
    batch = full_batch()
    texts = torch.zeros(5, 2, dtype=torch.long)
    with pytest.raises(ModelError, match="got text tokens, but reads audio, vision, text"):
        model(replace(batch, text_ids=texts, text_mask=texts == 0))
    one = random_model(from_preset("tiny", towers={"text": Tower(dim=32)}))
    with pytest.raises(ModelError, match="got audio, vision, but reads text"):
        one(batch)


def test_presets_have_the_sizes_that_they_say():
    towers = {name: Tower(dim=dim) for name, dim in DIMS.items()}
    counts = {}
    for name in ("tiny", "small"):
        with torch.device("meta"):
            model = OmniModel(PRESETS[name].model_copy(update={"towers": towers}))
        counts[name] = model.count_parameters()
        assert counts[name]["total"] == sum(weight.numel() for weight in model.parameters())
    assert 0.3e6 < counts["tiny"]["total"] < 0.6e6
    assert 6e6 < counts["small"]["total"] < 9e6
