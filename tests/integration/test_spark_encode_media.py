"""Images and sounds through the encode job: by content, once, and whatever the files are."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
import worlds
from media_files import picture, sound
from tiny_models import save_clap, save_clip
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.embeddings import unpack_vectors
from sail_features.encoders.catalogue import build_encoder
from sail_features.errors import ConfigError, InputError
from sail_features.spark.encode import QUARANTINE, run_encode

FIRST, SECOND = at(10), at(20)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_clip(folder / "clip")
    save_clap(folder / "clap")
    return folder


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


def put(store, column, rows, as_of=FIRST):
    table = worlds.items([(item, at(day), None, content) for item, day, content in rows], column)
    worlds.publish(store, "items", table, as_of=as_of)


def config_of(models, media, kind="vision", **changes):
    name = {"vision": "clip", "audio": "clap"}[kind]
    encoder = EncoderConfig(
        kind=kind,
        model=str(models / name),
        media_root=media,
        max_quarantine_share=changes.pop("max_quarantine_share", 0),
        **changes,
    )
    return CONFIG.model_copy(update={"encoder": encoder})


def vectors_of(store):
    rows = store.read("item_embedding").sort_by([(c.EVENT_TIMESTAMP, "ascending")]).to_pylist()
    return {row[c.ITEM_ID]: unpack_vectors([row[c.EMBEDDING]], row[c.DIM])[0] for row in rows}


def check_vectors(store, config, **contents):
    wanted = build_encoder(config.encoder).encode(list(contents.values()))
    found = vectors_of(store)
    assert found.keys() == contents.keys()
    for vector, item in zip(wanted, contents, strict=True):
        assert np.abs(found[item] - vector).max() < 1e-3, item


@pytest.mark.parametrize(
    ("kind", "column", "make"),
    [("vision", c.IMAGE_PATH, picture), ("audio", c.AUDIO_PATH, sound)],
)
def test_equal_files_are_encoded_once_and_described_ones_are_not_read_again(
    spark, store, models, media, kind, column, make
):
    one, two, three = make(300), make(500), make(700)
    for name, data in (("1", one), ("1-copy", one), ("2", two)):
        (media / name).write_bytes(data)
    put(store, column, [("a", 1, "1"), ("b", 2, "1-copy"), ("c", 3, str(media / "2"))])
    config = config_of(models, media, kind)
    summary = run_encode(spark, store, config, as_of=FIRST).lineage["summary"]
    assert (summary["distinct"], summary["encoded"]) == (2, 2)
    check_vectors(store, config, a=one, b=one, c=two)

    (media / "1").unlink()  # a's row is encoded: its file isn't looked at again
    (media / "2-new").write_bytes(two)
    (media / "3").write_bytes(three)
    rows = [("a", 1, "1"), ("b", 12, "3"), ("c", 13, "2-new"), ("d", 14, "1-copy")]
    put(store, column, rows, as_of=SECOND)
    manifest = run_encode(spark, store, config, as_of=SECOND)
    assert manifest.rows == 2  # c's new row has the content that it had
    assert manifest.lineage["summary"]["encoded"] == 1
    check_vectors(store, config, a=one, b=three, c=two, d=one)
    assert run_encode(spark, store, config, as_of=SECOND).fingerprint == manifest.fingerprint


def test_bad_files_are_set_aside_with_their_reasons(spark, store, models, media, tmp_path):
    good = picture(1)
    (media / "good.png").write_bytes(good)
    (media / "half.png").write_bytes(good[: len(good) // 2])
    (media / "empty.png").touch()
    (media / "text.png").write_text("not an image")
    (media / "folder").mkdir()
    os.mkfifo(media / "pipe")
    (tmp_path / "secret.png").write_bytes(good)
    (media / "link.png").symlink_to(tmp_path / "secret.png")
    paths = {
        "good": "good.png", "half": "half.png", "empty": "empty.png", "text": "text.png",
        "folder": "folder", "pipe": "pipe", "link": "link.png", "up": "../secret.png",
        "device": "/dev/zero", "none": None, "blank": " ", "missing": "x.png", "null": "a\0b",
    }  # fmt: skip
    put(store, c.IMAGE_PATH, [(item, 1, path) for item, path in paths.items()])
    config = config_of(models, media, max_quarantine_share=0.95)
    manifest = run_encode(spark, store, config, as_of=FIRST)
    check_vectors(store, config, good=good)
    reasons = {row[c.ITEM_ID]: row[c.REASON] for row in store.read(QUARANTINE).to_pylist()}
    undecodable = "image can't be decoded "
    assert reasons == {
        "half": undecodable + "(OSError)", "empty": "empty file",
        "text": undecodable + "(UnidentifiedImageError)", "folder": "not a regular file",
        "pipe": "not a regular file", "link": "file outside the media root",
        "up": "file outside the media root", "device": "file outside the media root",
        "missing": "no such file", "null": "no such file",
    }  # fmt: skip
    assert sum(manifest.quarantined.values()) == 10
    summary = manifest.lineage["summary"]
    assert (summary["items"], summary["without_content"]) == (13, 2)
    assert summary["quarantined"] == 10


def test_frames_and_bytes_are_media_as_well(spark, store, models, media):
    one, two = picture(1), picture(2)
    (media / "1").write_bytes(one)
    (media / "2").write_bytes(two)
    items = worlds.items([("a", at(1), None), ("b", at(2), None)])
    frames = pa.array([["1", "2"], ["2"]], pa.list_(pa.string()))
    items = items.append_column("frames", frames).append_column("image", pa.array([one, two]))
    worlds.publish(store, "items", items, as_of=FIRST)
    config = config_of(models, media, media_field="frames")
    run_encode(spark, store, config, as_of=FIRST)
    check_vectors(store, config, a=[one, two], b=two)
    shutil.rmtree(store.root / "item_embedding")
    config = config_of(models, None, media_field="image")
    run_encode(spark, store, config, as_of=FIRST)
    check_vectors(store, config, a=one, b=two)


def test_paths_without_a_root_and_columns_that_are_not_there_are_refused(
    spark, store, models, media
):
    put(store, c.IMAGE_PATH, [("a", 1, "1")])
    with pytest.raises(ConfigError, match=r"encoder.media_root: is not set, but items name files"):
        run_encode(spark, store, config_of(models, None), as_of=FIRST)
    with pytest.raises(ConfigError, match=r"encoder.media_root: .*gone is no folder"):
        run_encode(spark, store, config_of(models, media / "gone"), as_of=FIRST)
    with pytest.raises(InputError, match=r"media_field.*no column 'poster'"):
        run_encode(spark, store, config_of(models, media, media_field="poster"), as_of=FIRST)
    assert not (store.root / "item_embedding").exists()
