"""`sail-features train` on what no table of vectors has: patches of images, and words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import worlds
import yaml
from omni_models import BACKBONE
from tiny_models import save_clip
from worlds import at

from sail_features import columns as c
from sail_features.cli import main
from sail_features.datasets.synthetic import SyntheticConfig, build_synthetic
from sail_features.embeddings import META_NAME
from sail_features.encoders.checkpoints import find_minilm
from sail_features.encoders.media import MediaReader
from sail_features.encoders.omni.encoder import OmniEncoder
from sail_features.encoders.omni.folder import load_omni, read_saved
from sail_features.encoders.omni.parts import load_parts
from sail_features.encoders.omni.prompts import build_prompt, instruction_of, load_tokenizer
from sail_features.encoders.omni.towers import read_inputs
from sail_features.tables import TableStore
from sail_features.training.vectors import embed_rows

torch.set_num_threads(1)

ITEMS, PATCHES = 24, 17
STEPS = {"steps": 3, "batch_size": 8, "warmup_steps": 1}
SETTINGS = {
    "hidden": 32, "layers": 1, "heads": 2, "matryoshka": [8, 32], "text_tokens": True,
    "max_text_tokens": 48, "instruction": "Represent this item.",
}  # fmt: skip
PARTS = {"reads": "patches", "tokens": PATCHES, "queries": 4}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Return a folder with items that have a picture and a text, and a tiny CLIP."""
    folder = tmp_path_factory.mktemp("catalogue")
    config = SyntheticConfig(users=10, items=ITEMS, impressions=200, media=folder / "media")
    items = build_synthetic(config).items.to_pylist()
    save_clip(folder / "clip")
    return folder, items


@pytest.fixture
def workspace(tmp_path, catalogue):
    """Return a folder with settings, tables and files of pairs; two items are bad or bare."""
    folder, items = catalogue
    (folder / "media" / "broken.png").write_bytes(b"no picture")
    items = [dict(item) for item in items]
    items[0][c.IMAGE_PATH] = "broken.png"
    items[1][c.IMAGE_PATH] = None
    rows = [(one[c.ITEM_ID], at(0), one[c.TEXT], one[c.IMAGE_PATH]) for one in items]
    store = TableStore(tmp_path / "tables")
    worlds.publish(store, "items", worlds.items(rows, c.IMAGE_PATH), as_of=at(9))
    ids = [item[c.ITEM_ID] for item in items]
    pairs = {"query_item_id": ids[::2], "target_item_id": ids[1::2]}
    pq.write_table(pa.table(pairs), tmp_path / "alike.parquet")
    asked = {"query_text": [f"number {n}" for n in range(ITEMS)], "target_item_id": ids}
    pq.write_table(pa.table(asked), tmp_path / "asked.parquet")
    (tmp_path / "sail.yaml").write_text(
        f"workspace: .\nencoder: {{media_root: {folder / 'media'}}}\n"
    )
    return tmp_path


def recipe_of(catalogue, **settings):
    folder, _ = catalogue
    tower = {"kind": "vision", "model": str(folder / "clip"), "media_root": str(folder / "media")}
    return {
        "model": {"settings": SETTINGS | settings, "towers": {"vision": tower | PARTS}},
        "data": {
            "alike": {"kind": "pairs", "file": "alike.parquet", "behaviour": False, "task": "i2i"},
            "asked": {
                "kind": "pairs",
                "file": "asked.parquet", "behaviour": False, "task": "q2i", "holdout": 0.4,
                "query_modalities": ["text"],
            },
            "own": {"kind": "items", "patterns": [["vision", "text"]]},
        },
        "stages": [{"name": "content", "data": {"alike": 1, "asked": 1, "own": 1}, "train": STEPS}],
    }  # fmt: skip


def run(folder, recipe, *options):
    (folder / "train.yaml").write_text(yaml.safe_dump(recipe))
    files = ["--config", str(folder / "sail.yaml"), "--recipe", str(folder / "train.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(["train", *files, "--no-track", *options])
    return ended.value.code or 0


def save_backbone(folder):
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    sizes = BACKBONE | {"vocab_size": 30_522}
    config = AutoConfig.for_model("qwen2", **sizes, pad_token_id=1, attention_dropout=0.0)
    AutoModel.from_config(config).save_pretrained(folder)
    return {"backbone": "qwen", "tokenizer": str(find_minilm())}


@pytest.mark.parametrize("trunk", ["our own", "a language model"])
def test_patches_and_words_are_trained_on_and_served(workspace, catalogue, capsys, trunk):
    folder, items = catalogue
    changes = {} if trunk == "our own" else save_backbone(workspace / "qwen")
    recipe = recipe_of(catalogue, **changes)
    assert run(workspace, recipe, "--evaluate") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no table has patches, so its items are encoded here" in said
    assert "1 items left out: " in said
    assert f"patches vectors of {ITEMS - 2} items" in said  # without the broken and the missing
    assert "q2i asked: recall@10" in said
    saved = read_saved(workspace / "models" / "model")
    vision = saved.settings.towers["vision"]
    assert (vision.reads, vision.tokens, vision.queries, vision.dim) == ("patches", 17, 4, 32)
    assert saved.trained_until is None  # no stage saw what users did

    reader = MediaReader(folder / "media")
    contents = [{"text": one[c.TEXT], "vision": one[c.IMAGE_PATH]} for one in items[2:]]
    served = OmniEncoder(str(saved.folder), reader=reader).encode([*contents, {"text": "a text"}])
    ids = np.array([one[c.ITEM_ID] for one in items[2:]])
    order = np.argsort(ids)
    inputs = read_inputs(
        saved.settings.model_copy(update={"tokenizer": str(saved.folder)}),
        ids[order],
        [contents[row] for row in order],
        reader=reader,
    )
    trained = embed_rows(load_omni(saved.folder), inputs, np.arange(len(ids)))
    np.testing.assert_allclose(served[:-1][order], trained, atol=2e-5)
    assert np.isfinite(served[-1]).all()

    assert run(workspace, recipe, "--dry-run") == 0
    assert "encoded here" not in capsys.readouterr().out


def test_vectors_of_parts_are_read_back_as_they_were_encoded(workspace, catalogue):
    run(workspace, recipe_of(catalogue))
    [folder] = [path.parent for path in (workspace / "tables").glob(f"_derived/*/{META_NAME}")]
    table = load_parts(folder)
    assert len(table) == ITEMS - 2
    assert set(table.runs.counts.tolist()) == {PATCHES}
    lengths = np.linalg.norm(table.runs.values.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_each_side_is_told_what_it_is_for(workspace, catalogue, monkeypatch):
    from sail_features.training import data_sets

    seen = {}
    build = data_sets.build_pairs

    def watch(name, data, sources):
        seen[name] = build(name, data, sources)
        return seen[name]

    monkeypatch.setattr(data_sets, "build_pairs", watch)
    run(workspace, recipe_of(catalogue))
    settings = read_saved(workspace / "models" / "model").settings
    tokenizer = load_tokenizer(settings)

    def told(inputs):
        return inputs.prompt.before.tolist()

    def expected(task, side):
        return build_prompt(tokenizer, instruction_of(task, side)).before.tolist()

    for name, task in (("alike", "i2i"), ("asked", "q2i")):
        assert told(seen[name].query.inputs) == expected(task, "query")
        assert told(seen[name].target.inputs) == expected(task, "target")
    assert (
        told(seen["own"].query.inputs)
        == build_prompt(tokenizer, SETTINGS["instruction"]).before.tolist()
    )


def test_a_behaviour_part_reads_the_towers_beside_a_model_of_words(workspace, catalogue):
    recipe = recipe_of(catalogue, behaviour={"hidden": 8, "heads": 2})
    stage = {"name": "own", "data": {"alike": 1}, "part": "behaviour", "train": STEPS}
    recipe["data"]["alike"]["on_missing"] = "drop"  # items without a picture
    recipe["stages"].append(stage)
    assert run(workspace, recipe) == 0
    encoder = OmniEncoder(str(workspace / "models" / "model"))
    vectors = encoder.encode([{"text": "number 3"}])
    assert vectors.shape == (1, 40)
    np.testing.assert_array_equal(vectors[0, 32:], 0)


def test_a_model_of_words_alone_needs_no_tower(workspace, catalogue, capsys):
    recipe = recipe_of(catalogue)
    recipe["model"].pop("towers")
    recipe["stages"][0]["data"] = {"alike": 1, "asked": 1}
    assert run(workspace, recipe) == 0
    encoder = OmniEncoder(str(workspace / "models" / "model"))
    assert encoder.encode([{"text": "number 3"}]).shape == (1, 32)


def test_a_tower_that_reads_no_item_leaves_nothing(workspace, catalogue, capsys):
    recipe = recipe_of(catalogue)
    recipe["model"]["towers"]["vision"]["media_root"] = str(workspace / "tables")
    assert run(workspace, recipe) == 2
    assert (
        "none of 24 items has a content that it can encode; 22: file outside"
        in capsys.readouterr().err
    )
    assert not list((workspace / "tables").glob("_derived/tower-*"))


def read_no_words(recipe):
    recipe["model"]["settings"].update(text_tokens=False, instruction="")
    recipe["stages"][0]["data"] = {"asked": 1}
    for name in ("alike", "asked"):
        del recipe["data"][name]["task"]


def tell_the_wordless(recipe):
    read_no_words(recipe)
    recipe["data"]["alike"]["task"] = "i2i"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            lambda r: r["model"]["towers"]["vision"].update(tokens=8),
            "tokens is 8, and one frame of clip-",
        ),
        (lambda r: r["model"]["towers"]["vision"].update(kind="audio"), "has no patches"),
        (lambda r: r["model"].update(text_fields=["subtitle"]), "no column 'subtitle'"),
        (lambda r: r["data"]["alike"].update(task="x2x"), "i2i"),
        (tell_the_wordless, "has the task i2i, but the model reads no words"),
        (read_no_words, "nothing that the stage trains reads them"),
    ],
)
def test_what_cannot_be_read_is_refused(workspace, catalogue, capsys, spoil, problem):
    recipe = recipe_of(catalogue)
    spoil(recipe)
    assert run(workspace, recipe) == 2
    assert problem in " ".join(capsys.readouterr().err.split())
    assert not list((workspace / "models").glob("[0-9]-*"))
