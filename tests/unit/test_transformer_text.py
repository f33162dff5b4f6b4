"""Hugging Face text models: the installed MiniLM, tiny random ones, and broken folders."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.encoders.batching import iter_batches
from sail_features.encoders.checkpoints import find_minilm
from sail_features.encoders.devices import Placement
from sail_features.encoders.pipeline import encode_contents
from sail_features.encoders.transformer_text import TransformerTextEncoder
from sail_features.errors import ConfigError, ModelError
from sail_features.testing.encoder_suite import TEXTS, check_refusals, check_text_encoder

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def minilm() -> TransformerTextEncoder:
    return TransformerTextEncoder(max_tokens=32)


def test_minilm_keeps_the_promises_of_the_suite():
    check_text_encoder(lambda: TransformerTextEncoder(max_tokens=16), tolerance=1e-5)


def test_batch_size_changes_no_cosine(minilm):
    vectors = minilm.encode(TEXTS)
    for budget in (64, 1_000_000):
        other = encode_contents(minilm, TEXTS, budget=budget).vectors
        assert np.abs(1 - np.sum(vectors * other, axis=1)).max() < 1e-6


BF16 = Placement(dtype="bfloat16")


def test_bf16_is_near_to_fp32_and_independent_of_the_batch(minilm):
    exact = minilm.encode(TEXTS)
    half = TransformerTextEncoder(max_tokens=32, placement=BF16)
    assert half.encoder_id.replace("bf16", "fp32") == minilm.encoder_id != half.encoder_id
    together = half.encode(TEXTS)
    alone = np.concatenate([half.encode([text]) for text in TEXTS])
    assert np.sum(exact * together, axis=1).min() > 0.9999
    assert np.sum(alone * together, axis=1).min() > 1 - 1e-3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_layers_compute_what_transformers_does(minilm, dtype):
    from transformers import AutoModel

    plain = AutoModel.from_pretrained(minilm.folder).eval()
    expected = []
    for tokens in minilm.prepare(TEXTS):
        with torch.inference_mode():
            hidden = plain(torch.from_numpy(tokens)[None]).last_hidden_state[0]
        mean = hidden.mean(0).numpy()
        expected.append(mean / np.linalg.norm(mean))
    placed = TransformerTextEncoder(max_tokens=32, placement=Placement(dtype=dtype))
    cosines = np.sum(placed.encode(TEXTS) * np.array(expected), axis=1)
    assert cosines.min() > {"float32": 1 - 1e-6, "bfloat16": 0.9999}[dtype]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_onednn_torch_gives_the_same_vectors(copy, dtype, monkeypatch):
    placement = Placement(dtype=dtype)
    packed = TransformerTextEncoder(str(copy), max_tokens=32, placement=placement).encode(TEXTS)
    monkeypatch.setattr("sail_features.encoders.cpu_kernels.has_onednn", lambda dtype: False)
    plain = TransformerTextEncoder(str(copy), max_tokens=32, placement=placement).encode(TEXTS)
    assert np.sum(packed * plain, axis=1).min() > (1 - 1e-6 if dtype == "float32" else 1 - 1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_openvino_gives_the_same_vectors(minilm, dtype):
    pytest.importorskip("openvino", reason="the extra `openvino` isn't installed")
    encoder = TransformerTextEncoder(
        max_tokens=32, placement=Placement(dtype=dtype), backend="openvino"
    )
    assert encoder.encoder_id not in {minilm.encoder_id}
    cosines = np.sum(encoder.encode(TEXTS) * minilm.encode(TEXTS), axis=1)
    assert cosines.min() > {"float32": 1 - 1e-6, "bfloat16": 0.9999}[dtype]


def test_openvino_is_refused_on_a_gpu():
    placement = Placement("cuda:0")
    encoder = TransformerTextEncoder(placement=placement, backend="openvino")
    with pytest.raises(ConfigError, match="computes on the CPU"):
        encoder.load()


def test_prompt_comes_before_the_text_and_into_the_id(minilm):
    prompted = TransformerTextEncoder(max_tokens=32, prompt="query: ")
    assert prompted.encoder_id != minilm.encoder_id
    assert np.allclose(prompted.encode(["red"]), minilm.encode(["query: red"]), atol=1e-6)


def test_texts_that_are_none_are_refused(minilm):
    bad = ["", " \n", None, 7, b"bytes", "x" * 10_000_000, "\ud800 lone surrogate"]
    reasons = check_refusals(minilm, "red wine", bad)
    assert set(reasons) == {
        "no text", "text longer than 1000000 characters", "text is not valid Unicode",
    }  # fmt: skip


def test_real_texts_are_padded_by_less_than_five_percent(minilm):
    path = Path(__file__).parents[3] / "shared" / "data" / "ifdb" / "items.parquet"
    if not path.is_file():
        pytest.skip(f"no {path}")
    import pyarrow.parquet as pq

    texts = pq.read_table(path, columns=["text"])["text"].to_pylist()[:2000]
    costs = [len(tokens) for tokens in TransformerTextEncoder(max_tokens=256).prepare(texts)]
    padded = sum(len(b) * max(costs[row] for row in b) for b in iter_batches(costs, 2048))
    assert 1 <= padded / sum(costs) < 1.05


def test_minilm_knows_synonyms(minilm):
    sofa, couch, wine = minilm.encode(["a comfortable sofa", "a cosy couch", "red wine"])
    assert sofa @ couch > 0.6 > 0.4 > sofa @ wine


def test_texts_are_cut_at_max_tokens(minilm):
    long = "wine " * 100
    one, same = minilm.encode([long + "garden", long + "clock"])
    assert np.abs(one - same).max() < 1e-5


def test_building_an_encoder_loads_no_weights():
    encoder = TransformerTextEncoder()
    assert encoder.dim == 384
    assert encoder.encoder_id.startswith("MiniLM")
    assert encoder.trained_until is None
    assert "_model" not in vars(encoder)


# ---- other models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small random BERT with MiniLM's tokenizer."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    torch.manual_seed(0)
    shape = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(find_minilm() / name, folder)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "tiny-bert"))


def set_pooling(folder: Path, **modes: bool) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_any_local_model_loads_through_the_same_code(copy, pooling):
    is_cls = pooling == "cls"
    set_pooling(copy, pooling_mode_mean_tokens=not is_cls, pooling_mode_cls_token=is_cls)
    encoder = TransformerTextEncoder(str(copy), max_tokens=32)
    assert encoder.dim == 16
    assert f"-{pooling}-32t-" in encoder.encoder_id
    check_text_encoder(lambda: TransformerTextEncoder(str(copy), max_tokens=32))


def test_pooling_is_what_it_says(copy):
    texts = ["red wine", "a tea mug for the garden"]
    mean = TransformerTextEncoder(str(copy), max_tokens=32).encode(texts)
    set_pooling(copy, pooling_mode_cls_token=True)
    first = TransformerTextEncoder(str(copy), max_tokens=32).encode(texts)
    encoder = TransformerTextEncoder(str(copy), max_tokens=32)
    tokenizer, model = encoder._tokenizer, encoder._model
    for text, mean_vector, first_vector in zip(texts, mean, first, strict=True):
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        expected = hidden.mean(axis=0)
        assert np.allclose(mean_vector, expected / np.linalg.norm(expected), atol=1e-5)
        assert np.allclose(first_vector, hidden[0] / np.linalg.norm(hidden[0]), atol=1e-5)


def test_id_changes_with_everything_that_changes_a_vector(copy):
    def encoder_id(**settings: object) -> str:
        return TransformerTextEncoder(str(copy), **{"max_tokens": 32, **settings}).encoder_id

    ids = [encoder_id(), encoder_id(max_tokens=31), encoder_id(prompt="a: ")]
    ids += [encoder_id(placement=BF16), encoder_id(backend="openvino")]
    assert ids[0] == encoder_id(placement=Placement(threads=3, reasons={"device": "any"}))
    set_pooling(copy, pooling_mode_cls_token=True)
    ids.append(encoder_id())
    for name in ("tokenizer_config.json", "vocab.txt", "config.json", "model.safetensors"):
        with (copy / name).open("ab") as file:
            file.write(b" ")
        ids.append(encoder_id())
    assert len(set(ids)) == len(ids)
    (copy / "README.md").write_text("nothing of importance")
    assert encoder_id() == ids[-1]


@pytest.mark.parametrize("key", ["hidden_size", "dim", "d_model"])
def test_size_of_a_vector_is_read_whatever_its_name(copy, key):
    change_config(copy, **{"hidden_size": None, key: 16})
    assert TransformerTextEncoder(str(copy), max_tokens=32).dim == 16


# ---- what can't be used


@pytest.mark.parametrize("model", ["no-such/model", "nowhere/at/all", "", "spaces in it"])
def test_unknown_model_is_a_model_error(model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="can't be loaded"):
        TransformerTextEncoder(model)


def test_folder_without_safetensors_is_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no \*\.safetensors"):
        TransformerTextEncoder(str(copy))


def test_folder_without_a_readable_configuration_is_refused(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"no readable config\.json"):
        TransformerTextEncoder(str(copy))
    (copy / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no size of a hidden layer"):
        TransformerTextEncoder(str(copy))


def test_pooling_that_we_do_not_do_is_refused(copy):
    set_pooling(copy, pooling_mode_max_tokens=True, pooling_mode_mean_tokens=False)
    with pytest.raises(ModelError, match="its pooling is pooling_mode_max_tokens"):
        TransformerTextEncoder(str(copy))


@pytest.mark.parametrize("pooling", ["cls", ["cls"]])
def test_pooling_is_read_as_newer_sentence_transformers_write_it(copy, pooling):
    set_pooling(copy, pooling_mode=pooling)
    assert TransformerTextEncoder(str(copy), max_tokens=32).pooling == "cls"
    set_pooling(copy, pooling_mode=["cls", "mean"])
    with pytest.raises(ModelError, match="its pooling is cls, mean"):
        TransformerTextEncoder(str(copy), max_tokens=32)
    set_pooling(copy, pooling_mode="lasttoken")
    with pytest.raises(ModelError, match="its pooling is lasttoken"):
        TransformerTextEncoder(str(copy), max_tokens=32)


def test_layers_behind_the_pooling_that_we_do_not_have_are_refused(copy):
    modules = [{"type": "sentence_transformers.models.Dense"}]
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"its modules\.json has Dense"):
        TransformerTextEncoder(str(copy), max_tokens=32)


def test_more_tokens_than_the_model_has_positions_are_refused(copy):
    with pytest.raises(ConfigError, match="reads 40 tokens at most"):
        TransformerTextEncoder(str(copy), max_tokens=41)


def test_weights_that_can_not_be_read_are_a_model_error(copy):
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="can't be loaded"):
        TransformerTextEncoder(str(copy), max_tokens=32).encode(["a"])


def test_weights_of_another_shape_are_a_model_error(copy):
    change_config(copy, hidden_size=32)
    with pytest.raises(ModelError, match="can't be loaded"):
        TransformerTextEncoder(str(copy), max_tokens=32).encode(["a"])


def test_weights_that_a_file_lacks_are_not_drawn_at_random(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    without_pooler = {k: v for k, v in weights.items() if not k.startswith("pooler.")}
    save_file(without_pooler, copy / "model.safetensors", metadata={"format": "pt"})
    TransformerTextEncoder(str(copy), max_tokens=32).encode(["a"])
    del without_pooler["embeddings.word_embeddings.weight"]
    save_file(without_pooler, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights for embeddings\.word_embeddings\.weight"):
        TransformerTextEncoder(str(copy), max_tokens=32).encode(["a"])


# ---- batches


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_each_row_once_longest_first_within_the_budget(lengths, budget):
    batches = list(iter_batches(lengths, budget))
    assert Counter(row for batch in batches for row in batch) == Counter(range(len(lengths)))
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget
