"""Hugging Face transformers as the trunk: bidirectional whatever they were, positions by token."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from omni_models import BACKBONE, random_inputs  # noqa: E402
from transformers import AutoConfig, AutoModel, BertModel  # noqa: E402

from sail_features.encoders.omni.backbone import MODEL_TYPES, build_backbone  # noqa: E402
from sail_features.encoders.omni.batch import OmniBatch, Prompt  # noqa: E402
from sail_features.encoders.omni.folder import load_omni, save_omni  # noqa: E402
from sail_features.encoders.omni.model import OmniModel  # noqa: E402
from sail_features.encoders.omni.runs import Runs  # noqa: E402
from sail_features.encoders.omni.settings import from_preset  # noqa: E402
from sail_features.errors import ModelError  # noqa: E402

SETTINGS = {"hidden": 32, "matryoshka": (8, 32), "text_tokens": True}
ROWS = np.arange(8)


def save_backbone(folder, kind: str):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **BACKBONE, pad_token_id=1, attention_dropout=0.0)
    AutoModel.from_config(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    ids = [rng.integers(2, 200, count) for count in (3, 7, 1, 12, 0, 5, 2, 9)]
    made = random_inputs(8, audio=24, vision=16)
    return replace(made, text_ids=Runs.of(ids))


@pytest.fixture(scope="module", params=MODEL_TYPES)
def model(request, tmp_path_factory, inputs):
    folder = tmp_path_factory.mktemp("backbone") / request.param
    name = save_backbone(folder, request.param)
    torch.manual_seed(1)
    return OmniModel(inputs.bind(from_preset("tiny", **SETTINGS, backbone=name))).eval()


def text_batch(ids) -> OmniBatch:
    tensor = torch.tensor(ids)
    return OmniBatch({}, {}, tensor, torch.ones_like(tensor, dtype=torch.bool))


def test_every_token_sees_those_after_it(model):
    tokens = model.trunk.table(torch.tensor([[5, 6, 7, 8]]))
    mask = torch.ones(1, 4, dtype=torch.bool)
    before = model.trunk(tokens, mask)
    changed = tokens.clone()
    changed[0, 3] = model.trunk.table(torch.tensor(9))
    assert (model.trunk(changed, mask)[0, 0] - before[0, 0]).abs().max() > 1e-4


def test_a_vector_does_not_depend_on_its_batch(model, inputs):
    together = model(inputs.take(ROWS)).fused
    alone = torch.cat([model(inputs.take(ROWS[row : row + 1])).fused for row in ROWS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert torch.isfinite(together).all()


def test_saved_and_loaded_it_is_the_same_without_the_backbones_folder(model, inputs, tmp_path):
    settings = model.settings.model_copy(update={"text_tokens": False, "backbone": "/gone"})
    images = replace(inputs, text_ids=None).take(ROWS)
    saved = OmniModel(settings, backbone=copy.deepcopy(model.trunk)).eval()
    save_omni(saved, tmp_path / "m", trained_until=None, lineage={})
    assert torch.equal(load_omni(tmp_path / "m").eval()(images).fused, saved(images).fused)


def test_recomputing_gives_the_same_gradients(model, inputs):
    model.train()
    gradients = []
    for on in (False, True):
        model.recompute(on)
        model.zero_grad()
        torch.manual_seed(3)
        model(inputs.take(ROWS)).fused.pow(2).sum().backward()
        gradients.append({n: w.grad.clone() for n, w in model.named_parameters()})
    model.recompute(False)
    model.eval()
    for name, one in gradients[0].items():
        torch.testing.assert_close(one, gradients[1][name], atol=1e-6, rtol=1e-4, msg=name)


def test_bf16_is_near_and_bears_items_without_anything(model, inputs):
    batch = inputs.take(ROWS)
    for there in (*batch.mask.values(), batch.text_mask):
        there[0] = False
    with torch.autocast("cpu", torch.bfloat16):
        found = model(batch).fused
    torch.testing.assert_close(found, model(batch).fused, atol=0.05, rtol=0)


def test_texts_alone_are_what_the_backbone_makes_of_them(tmp_path):
    name = save_backbone(tmp_path / "bert", "bert")
    model = OmniModel(from_preset("tiny", **SETTINGS, backbone=name)).eval()
    ids = [[4, 9, 13, 2]]
    states = BertModel.from_pretrained(name).eval()(torch.tensor(ids)).last_hidden_state
    found = model(text_batch(ids)).fused
    torch.testing.assert_close(found, states.tanh().mean(1), atol=1e-5, rtol=0)


def test_a_prompt_goes_around_the_content_and_counts_in_the_mean(tmp_path):
    name = save_backbone(tmp_path / "qwen", "qwen2")
    model = OmniModel(from_preset("tiny", **SETTINGS, backbone=name)).eval()
    prompt = Prompt(torch.tensor([7, 8]), torch.tensor([9]))
    asked = replace(text_batch([[4, 5], [6, 4]]), prompt=prompt)
    plain = model(text_batch([[7, 8, 4, 5, 9], [7, 8, 6, 4, 9]]))
    torch.testing.assert_close(model(asked).fused, plain.fused, atol=1e-5, rtol=0)
    own = model(asked).in_context["text"]
    assert (own - plain.in_context["text"]).abs().max() > 1e-3


def test_backbones_that_do_not_fit_are_refused(tmp_path):
    name = save_backbone(tmp_path / "bert", "bert")
    with pytest.raises(ModelError, match="hidden states of 32 numbers, expected hidden"):
        OmniModel(from_preset("tiny", text_tokens=True, backbone=name))
    model = OmniModel(from_preset("tiny", **SETTINGS, backbone=name))
    with pytest.raises(ModelError, match="got 97 tokens an item, expected 96 at most"):
        model(text_batch([[3] * 97]))
    with pytest.raises(ModelError, match=r"model_type 'gpt2' is none of bert, llama"):
        build_backbone({"model_type": "gpt2"})
    with pytest.raises(ModelError, match="neither a folder nor cached"):
        OmniModel(from_preset("tiny", **SETTINGS, backbone="no/such"))
