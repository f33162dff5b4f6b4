"""A saved omni-modal model as an encoder: its promises, its faults and its identity."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from media_files import picture, sound  # noqa: E402
from omni_models import random_inputs, save_model, save_towers  # noqa: E402

from sail_features.config import EncoderConfig  # noqa: E402
from sail_features.embeddings import EmbeddingTable, normalise  # noqa: E402
from sail_features.encoders.audio import AudioEncoder  # noqa: E402
from sail_features.encoders.catalogue import build_encoder  # noqa: E402
from sail_features.encoders.checkpoints import find_minilm  # noqa: E402
from sail_features.encoders.devices import Placement  # noqa: E402
from sail_features.encoders.hashing import HashEncoder  # noqa: E402
from sail_features.encoders.media import HashedFiles, MediaReader  # noqa: E402
from sail_features.encoders.omni.encoder import OmniEncoder  # noqa: E402
from sail_features.encoders.omni.folder import load_omni, read_saved, save_omni  # noqa: E402
from sail_features.encoders.omni.inputs import ItemInputs  # noqa: E402
from sail_features.encoders.omni.model import OmniModel  # noqa: E402
from sail_features.encoders.omni.prompts import instruction_of, load_tokenizer  # noqa: E402
from sail_features.encoders.omni.runs import Runs  # noqa: E402
from sail_features.encoders.omni.settings import Tower, from_preset  # noqa: E402
from sail_features.encoders.omni.towers import read_inputs  # noqa: E402
from sail_features.encoders.pipeline import encode_contents  # noqa: E402
from sail_features.encoders.transformer_text import TransformerTextEncoder  # noqa: E402
from sail_features.encoders.vision import VisionEncoder  # noqa: E402
from sail_features.errors import ConfigError, InputError, ModelError  # noqa: E402
from sail_features.testing.encoder_suite import check_encoder, check_refusals  # noqa: E402

UNTIL = datetime(2024, 3, 1, tzinfo=UTC)


ITEMS = [
    {"text": "red wine", "vision": picture(0), "audio": sound(300, 8_000)},
    {"text": "red wine"},
    {"vision": [picture(0), picture(1)], "audio": None},
    {"audio": sound(500, 8_000), "text": "  "},
    {"text": "white wine", "vision": picture(2)},
    {"text": "red wine"},
]


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    return save_towers(tmp_path_factory.mktemp("towers"))


@pytest.fixture(scope="module")
def folder(towers, tmp_path_factory):
    path = tmp_path_factory.mktemp("omni") / "model"
    save_model(path, towers)
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return OmniEncoder(str(folder))


def test_it_keeps_the_promises_of_the_suite(folder):
    check_encoder(lambda: OmniEncoder(str(folder)), ITEMS)


def test_text_tokens_and_instruction_keep_them_too(towers, tmp_path):
    words = {"text_tokens": True, "instruction": instruction_of("i2i", "target")}
    save_model(tmp_path / "m", {"vision": towers["vision"]}, **words)
    check_encoder(lambda: OmniEncoder(str(tmp_path / "m")), [*ITEMS[:3], ITEMS[4]])


def test_minilm_as_the_trunk_serves_and_knows_what_minilm_knows(tmp_path):
    settings = from_preset(
        "tiny", hidden=384, matryoshka=(384,), backbone=str(find_minilm()), text_tokens=True
    )
    model = OmniModel(settings).eval()
    save_omni(model, tmp_path / "m", trained_until=None, lineage={})
    encoder = OmniEncoder(str(tmp_path / "m"))
    texts = ["a cat sleeps", "a kitten naps on the sofa", "stock markets fell", "shares lost value"]
    found = encoder.encode([{"text": text} for text in texts])
    inputs = ItemInputs(np.arange(4), {}, {}).with_texts(texts, settings)
    with torch.inference_mode():
        direct = normalise(model(inputs.take(np.arange(4))).fused.numpy())
    assert np.abs(found - direct).max() < 1e-5
    known = TransformerTextEncoder().encode(texts)
    assert np.corrcoef((found @ found.T).ravel(), (known @ known.T).ravel())[0, 1] > 0.98


def test_vectors_are_the_models_on_the_tables_of_its_towers(folder, encoder, towers):
    """Training on cached vectors and serving on files give an item the same inputs."""
    made = {
        "vision": VisionEncoder(towers["vision"]["model"]),
        "audio": AudioEncoder(towers["audio"]["model"]),
        "text": HashEncoder(32),
    }
    tables = {}
    for name, tower in made.items():
        rows = [row for row, item in enumerate(ITEMS) if (item.get(name) or " ") != " "]
        rows = [row for row in rows if str(ITEMS[row][name]).strip()]
        vectors = tower.encode([ITEMS[row][name] for row in rows]).astype(np.float16)
        times = np.zeros(len(rows), np.int64)
        tables[name] = EmbeddingTable(np.array(rows), vectors, tower.encoder_id, times)
    inputs = ItemInputs.from_tables(tables)
    assert inputs.has["vision"].tolist() == [True, False, True, False, True, False]
    model = load_omni(folder).eval()
    assert inputs.bind(model.settings) == model.settings
    found = normalise(model(inputs.take(np.arange(6))).fused.detach().numpy())
    assert np.abs(found - encoder.encode(ITEMS)).max() < 1e-3


@pytest.mark.parametrize(("reads", "dim", "tokens"), [("frames", 16, 4), ("patches", 32, 34)])
def test_frames_and_patches_are_read_from_the_tower(towers, tmp_path, reads, dim, tokens):
    vision = {**towers["vision"], "reads": reads, "dim": dim, "tokens": tokens, "queries": 2}
    save_model(tmp_path / "m", {"vision": vision})
    encoder = OmniEncoder(str(tmp_path / "m"))
    contents = [
        {"vision": picture(0)},
        {"vision": [picture(0), picture(1)]},
        {"vision": picture(1)},
    ]
    check_encoder(lambda: OmniEncoder(str(tmp_path / "m")), contents)
    each = 1 if reads == "frames" else 17
    inputs = read_inputs(encoder.settings, np.arange(3), contents)
    assert inputs.vectors["vision"].counts.tolist() == [each, 2 * each, each]
    assert inputs.bind(encoder.settings) == encoder.settings
    trained = load_omni(tmp_path / "m").eval()(inputs.take(np.arange(3))).fused.detach()
    assert np.abs(normalise(trained.numpy()) - encoder.encode(contents)).max() < 1e-6
    many = [{"vision": [picture(0)] * 5}]
    [reason] = check_refusals(encoder, contents[0], many)
    assert reason.startswith(f"vision: more than {4 if reads == 'frames' else 2} frames (tokens:")


def test_faulty_parts_refuse_their_item_alone(encoder):
    bad = [
        {"text": "fine", "vision": b"garbage"}, {"audio": b""}, {"text": "x" * 1_000_001},
        {}, {"text": " ", "vision": []}, None, "a text alone", {"vision": "a/path"},
        {"vision": HashedFiles(picture(0), "another hash")},
    ]  # fmt: skip
    assert check_refusals(encoder, ITEMS[0], bad) == [
        "vision: image can't be decoded (UnidentifiedImageError)", "audio: empty file",
        "text: text longer than 1000000 characters", *["nothing that the model reads"] * 4,
        "vision: a path, but no media root is set", "vision: file was replaced while the job ran",
    ]  # fmt: skip


def test_bf16_is_near_and_has_its_own_id(folder, encoder):
    half = OmniEncoder(str(folder), placement=Placement(dtype="bfloat16"))
    assert half.encoder_id != encoder.encoder_id
    assert np.sum(half.encode(ITEMS) * encoder.encode(ITEMS), axis=1).min() > 0.999


def test_id_and_availability_carry_until_when_it_was_trained(folder, encoder, tmp_path):
    assert encoder.trained_until is None
    model = load_omni(folder)
    for name, until in (("a", None), ("b", UNTIL), ("c", UNTIL)):
        save_omni(model, tmp_path / name / "model", trained_until=until, lineage={"run": name})
    first, second, third = (OmniEncoder(str(tmp_path / name / "model")) for name in "abc")
    assert first.encoder_id == encoder.encoder_id
    assert second.encoder_id == third.encoder_id != first.encoder_id
    assert (second.trained_until, "until20240301" in second.encoder_id) == (UNTIL, True)
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    save_omni(model, tmp_path / "a" / "model", trained_until=None, lineage={})
    assert OmniEncoder(str(tmp_path / "a" / "model")).encoder_id != first.encoder_id
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"]
    with pytest.raises(InputError, match="has no zone"):
        save_omni(model, tmp_path / "d", trained_until=datetime(2024, 3, 1), lineage={})


def test_a_tower_that_is_not_the_one_of_the_training_is_refused(towers, tmp_path):
    clip = tmp_path / "m" / "clip"
    save_model(tmp_path / "m", {"vision": {**towers["vision"], "model": "clip"}})
    shutil.copytree(towers["vision"]["model"], clip)  # a folder inside the model's own
    OmniEncoder(str(tmp_path / "m"))
    processor = json.loads((clip / "preprocessor_config.json").read_text())
    (clip / "preprocessor_config.json").write_text(json.dumps({**processor, "image_mean": [0] * 3}))
    with pytest.raises(ModelError, match=r"vision tower: it was trained on vectors of .*clip is"):
        OmniEncoder(str(tmp_path / "m"))
    shutil.rmtree(clip)
    with pytest.raises(ModelError, match="model 'clip'"):
        OmniEncoder(str(tmp_path / "m"))


def test_folders_that_hold_no_model_of_this_kind_are_refused(folder, towers, tmp_path):
    with pytest.raises(ModelError, match="model_type is 'clip_vision_model', expected 'sail_omni'"):
        OmniEncoder(towers["vision"]["model"])
    config = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"settings": {**config["settings"], "hidden": 25}}, "isn't a multiple"),
        ({"settings": {**config["settings"], "hidden": 32, "matryoshka": [32]}}, "size mismatch"),
        ({"trained_until": "soon"}, "Invalid isoformat"),
        ({"backbone": {"model_type": "gpt2"}}, "none of bert"),
    ):
        shutil.copytree(folder, tmp_path / "m", dirs_exist_ok=True)
        (tmp_path / "m" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match=said):
            load_omni(tmp_path / "m")
    given = random_inputs(audio=24)
    settings = given.bind(from_preset("tiny", hidden=24, matryoshka=(24,)))
    save_omni(OmniModel(settings), tmp_path / "given", trained_until=None, lineage={})
    with pytest.raises(ModelError, match="vectors of unknown origin"):
        OmniEncoder(str(tmp_path / "given"))
    unsigned = {"vision": {**towers["vision"], "encoder_id": None}}
    save_model(tmp_path / "unsigned", unsigned)
    with pytest.raises(ModelError, match="nobody wrote down which encoder"):
        OmniEncoder(str(tmp_path / "unsigned"))


def test_sail_yaml_builds_it_and_refuses_what_it_does_not_read(folder, towers, tmp_path):
    config = EncoderConfig(kind="sail", model=str(folder), image_field="poster", audio_field="clip")
    assert build_encoder(config).encoder_id == OmniEncoder(str(folder)).encoder_id
    save_model(tmp_path / "m", {"text": towers["text"]})
    with pytest.raises(ConfigError, match=r"encoder.audio_field: names 'clip', but .* reads text"):
        build_encoder(config.model_copy(update={"model": str(tmp_path / "m")}))
    with pytest.raises(ConfigError, match="sail encoder has no built-in model"):
        build_encoder(EncoderConfig(kind="sail"))
    for wrong in (
        {"kind": "sail", "media_field": "poster"}, {"image_field": "poster"}, {"text_fields": ()},
        {"kind": "sail", "text_fields": ()},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"image_field|kind sail"):
            EncoderConfig(**wrong)
    files = EncoderConfig(kind="sail", text_fields=(), image_field="poster")
    assert files.content_columns == {"poster": "image_field"}


def test_a_catalogue_is_read_for_training_and_a_broken_part_named(towers):
    settings = from_preset("tiny", towers=towers, text_tokens=True)
    inputs = read_inputs(settings, np.arange(6), ITEMS)
    assert inputs.has["vision"].tolist() == [True, False, True, False, True, False]
    assert inputs.has["text"].tolist() == [True, True, False, False, True, True]
    assert inputs.encoder_ids == {name: tower["encoder_id"] for name, tower in towers.items()}
    with pytest.raises(InputError, match=r"item 1: image can't be decoded"):
        read_inputs(settings, np.arange(2), [ITEMS[0], {"vision": b"no image"}])


def test_files_are_read_below_the_media_root_alone(folder, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    encoder = OmniEncoder(str(folder), reader=MediaReader(tmp_path))
    found = encode_contents(encoder, [{"vision": "a.png"}, {"vision": "../a.png"}])
    assert found.reasons[0] is None
    assert found.reasons[1] is not None


def test_a_tower_keeps_the_settings_of_its_encoder(tmp_path):
    config = EncoderConfig(max_tokens=64, prompt="query: ", dtype="bfloat16")
    tower = Tower.of(config, dim=384, encoder_id="some")
    assert tower.encoder_config(folder=tmp_path, reader=MediaReader()) == config


# ---- inputs


def test_inputs_say_what_does_not_fit_the_settings():
    inputs = random_inputs()
    settings = inputs.bind(from_preset("tiny"))
    text = settings.towers["text"]
    for change, said in (
        ({"dim": 7}, "expected vectors of 7 numbers, got vectors of 32"),
        ({"encoder_id": "another"}, "expected encoder another, got None"),
    ):
        towers = {**settings.towers, "text": text.model_copy(update=change)}
        with pytest.raises(ModelError, match=said):
            inputs.bind(settings.model_copy(update={"towers": towers}))
    with pytest.raises(ModelError, match=r"towers.audio: expected a tower, got no vectors"):
        random_inputs(text=32).bind(settings)
    with pytest.raises(ModelError, match=r"text_tokens: expected texts, got no token ids"):
        inputs.bind(from_preset("tiny", text_tokens=True))
    frames = ItemInputs(np.arange(2), {"vision": Runs.of([np.ones((3, 16)), np.ones((1, 16))])}, {})
    with pytest.raises(ModelError, match="expected 1 tokens an item at most, got 3"):
        frames.bind(from_preset("tiny", towers={"vision": {"dim": 16}}))


def test_inputs_are_checked_and_found_by_id():
    inputs = random_inputs(6, text=4)
    assert inputs.rows_of(np.array([5, 9, 0, -3])).tolist() == [5, -1, 0, -1]
    with pytest.raises(InputError, match="repeat or aren't sorted"):
        replace(inputs, item_ids=np.array([0, 0, 1, 2, 3, 4]))
    with pytest.raises(InputError, match="text: 6 runs for 5 items"):
        replace(inputs, item_ids=np.arange(5))


def test_texts_become_tokens_and_a_missing_one_none(towers, tmp_path):
    settings = from_preset("tiny", text_tokens=True, max_text_tokens=6)
    inputs = random_inputs(3, audio=24).with_texts(["red wine", None, "a b c d e f g h"], settings)
    assert inputs.text_ids.counts.tolist() == [4, 0, 6]
    assert inputs.has["text"].tolist() == [True, False, True]
    with pytest.raises(ModelError, match="has 30522 tokens, expected 50"):
        load_tokenizer(settings.model_copy(update={"vocabulary": 50}))
    with pytest.raises(ConfigError, match="unknown 'i2i nobody'"):
        instruction_of("i2i", "nobody")
    save_model(tmp_path / "m", {"vision": towers["vision"]}, text_tokens=True)
    saved = read_saved(tmp_path / "m")
    model = load_omni(tmp_path / "m")
    save_omni(model, tmp_path / "again", trained_until=None, lineage={})
    again = load_tokenizer(saved.settings, tmp_path / "again")
    assert again("red wine")["input_ids"] == load_tokenizer(settings)("red wine")["input_ids"]
