"""A trained omni-modal model in the encode job, on items that lack some of their parts."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import worlds
from omni_models import save_model, save_towers
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.datasets.synthetic import SyntheticConfig, build_synthetic
from sail_features.embeddings import unpack_vectors
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.omni.folder import load_omni, save_omni
from sail_features.errors import ConfigError, InputError
from sail_features.spark.encode import QUARANTINE, run_encode

UNTIL = at(5)
FIRST, SECOND = at(10), at(20)
COLUMNS = {"vision": c.IMAGE_PATH, "audio": c.AUDIO_PATH, "text": c.TEXT}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sail")
    save_model(folder / "untrained", save_towers(folder / "towers"))
    model = load_omni(folder / "untrained")
    save_omni(model, folder / "model", trained_until=UNTIL, lineage={})
    return folder / "model"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Return 16 synthetic items with an image and a sound each, and the folder of both."""
    media = tmp_path_factory.mktemp("media")
    world = build_synthetic(SyntheticConfig(users=10, items=16, impressions=200, media=media))
    return world.items.to_pylist(), media


def config_of(model, media, **changes):
    settings = {"max_quarantine_share": 0, "image_field": c.IMAGE_PATH, "audio_field": c.AUDIO_PATH}
    encoder = EncoderConfig(
        kind="sail", model=str(model), media_root=media, **{**settings, **changes}
    )
    return CONFIG.model_copy(update={"encoder": encoder})


def put(store, items, as_of=FIRST):
    rows = [(item[c.ITEM_ID], item["at"], item[c.TEXT], *map(item.get, MEDIA)) for item in items]
    worlds.publish(store, "items", worlds.items(rows, *MEDIA), as_of=as_of)


MEDIA = (c.IMAGE_PATH, c.AUDIO_PATH)


def check_vectors(store, config, items):
    encoder = build_encoder(config.encoder)
    contents = [{part: item[column] for part, column in COLUMNS.items()} for item in items]
    rows = store.read("item_embedding").sort_by([(c.EVENT_TIMESTAMP, "ascending")]).to_pylist()
    found = {row[c.ITEM_ID]: row for row in rows}
    assert found.keys() == {item[c.ITEM_ID] for item in items}
    for item, vector in zip(items, encoder.encode(contents), strict=True):
        row = found[item[c.ITEM_ID]]
        stored = unpack_vectors([row[c.EMBEDDING]], row[c.DIM])[0]
        assert np.abs(stored - vector).max() < 1e-3, item
        assert row[c.AVAILABLE_AT] == max(item["at"], UNTIL)


def test_items_that_lack_parts_get_the_vectors_of_the_direct_call(spark, store, model, catalogue):
    drawn, media = catalogue
    items = [{**item, "at": at(row % 8)} for row, item in enumerate(drawn)]
    for row, item in enumerate(items[:14]):  # all subsets, that of nothing among them
        lacking = [column for bit, column in enumerate(COLUMNS.values()) if row >> bit & 1]
        item.update(dict.fromkeys(lacking))
    shutil.copy(items[14][c.IMAGE_PATH], media / "copy.png")
    items.append({**items[14], c.ITEM_ID: "copy", c.IMAGE_PATH: "copy.png"})
    put(store, items)
    config = config_of(model, media)
    manifest = run_encode(spark, store, config, as_of=FIRST)
    full = [item for item in items if any(item[column] for column in COLUMNS.values())]
    check_vectors(store, config, full)
    summary = manifest.lineage["summary"]
    assert (summary["items"], summary["without_content"], summary["distinct"]) == (17, 1, 15)
    assert manifest.lineage["trained_until"] == UNTIL.isoformat()

    changed = {**items[0], "at": at(12), c.TEXT: "quite another text"}
    put(store, [*items, changed], as_of=SECOND)
    assert run_encode(spark, store, config, as_of=SECOND).lineage["summary"]["encoded"] == 1
    check_vectors(store, config, [changed, *full[1:]])


def test_a_faulty_part_sets_its_item_aside_with_the_reason(spark, store, model, catalogue):
    drawn, media = catalogue
    good, *others = [{**item, "at": at(1)} for item in drawn[:4]]
    (media / "half.png").write_bytes(b"not an image")
    for item, column, path in zip(
        others, (*MEDIA, c.IMAGE_PATH), ("half.png", "x", "../x"), strict=True
    ):
        item[column] = path
    put(store, [good, *others])
    config = config_of(model, media, max_quarantine_share=0.9)
    run_encode(spark, store, config, as_of=FIRST)
    check_vectors(store, config, [good])
    reasons = {row[c.ITEM_ID]: row[c.REASON] for row in store.read(QUARANTINE).to_pylist()}
    assert [reasons[item[c.ITEM_ID]] for item in others] == [
        "vision: image can't be decoded (UnidentifiedImageError)",
        "audio: no such file",
        "vision: no such file",
    ]


def test_columns_that_are_not_there_and_paths_without_a_root_are_refused(
    spark, store, model, catalogue
):
    drawn, media = catalogue
    put(store, [{**drawn[0], "at": at(1)}])
    with pytest.raises(InputError, match=r"encoder.audio_field.*no column 'jingle'"):
        run_encode(spark, store, config_of(model, media, audio_field="jingle"), as_of=FIRST)
    with pytest.raises(ConfigError, match=r"media_root: is not set, but items name files"):
        run_encode(spark, store, config_of(model, None), as_of=FIRST)
    assert not (store.root / "item_embedding").exists()
