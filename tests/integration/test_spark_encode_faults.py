"""The encode job's promises under bad input, stopped runs and other partitionings."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import worlds
from PIL import Image
from tiny_models import save_clap, save_clip
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.embeddings import pack_column, unpack_vectors
from sail_features.encoders.hashing import HashEncoder
from sail_features.errors import MissingTableError, QuarantineError
from sail_features.progress import Progress
from sail_features.spark import encode, encode_chunks, job_watch
from sail_features.spark.encode import QUARANTINE, run_encode
from sail_features.tables import TableStore

FIRST, SECOND = at(10), at(20)
TEXTS = {f"i{n}": f"{'tea ' * (n % 5)}pot {n % 50}" for n in range(120)}
"""Fifty texts of several lengths, each of two items or three."""


def encoder(**changes):
    section = EncoderConfig.model_validate({**CONFIG.encoder.model_dump(), **changes})
    return CONFIG.model_copy(update={"encoder": section})


def put(store, texts, as_of=FIRST):
    rows = [(item, at(1), text) for item, text in texts.items()]
    worlds.publish(store, "items", worlds.items(rows), as_of=as_of)


def vectors_of(store, as_of=None):
    """Return each item's vector as bytes; an item must not have two."""
    rows = store.read("item_embedding", as_of).to_pylist()
    found = {row[c.ITEM_ID]: row[c.EMBEDDING] for row in rows}
    assert len(found) == len(rows)
    return found


def true_vectors(texts, dim=32):
    packed = pack_column(HashEncoder(dim).encode(list(texts.values()))).to_pylist()
    return dict(zip(texts, packed, strict=True))


def reasons_of(store):
    return {row[c.ITEM_ID]: row[c.REASON] for row in store.read(QUARANTINE).to_pylist()}


def summary_of(manifest):
    return manifest.lineage["summary"]


@pytest.fixture
def small_chunks(monkeypatch):
    """Let the first chunk have a tenth of `TEXTS`; the rest is a second one."""
    monkeypatch.setattr(encode_chunks, "FIRST_WINDOWS_PER_TASK", 6 / HashEncoder().window_rows)


@pytest.fixture
def stopped(monkeypatch, spark, store):
    """Return what runs the job until all is encoded, and stops it before it is published."""

    def run(config, as_of=FIRST):
        def stop(*_):
            raise InterruptedError

        with monkeypatch.context() as patch:
            patch.setattr(encode, "_join_vectors", stop)
            with pytest.raises(InterruptedError):
                run_encode(spark, store, config, as_of=as_of)

    return run


@pytest.mark.parametrize(
    "tasks", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 16))]
)
def test_partitioning_and_the_order_of_items_change_no_vector(
    spark, store, monkeypatch, small_chunks, tasks
):
    monkeypatch.setattr(encode_chunks, "_tasks", lambda *_: tasks)
    order = np.random.default_rng(tasks).permutation(len(TEXTS))
    put(store, dict(np.array(list(TEXTS.items()))[order].tolist()))
    run_encode(spark, store, CONFIG, as_of=FIRST)
    assert vectors_of(store) == true_vectors(TEXTS)


@pytest.mark.slow
def test_partitioning_changes_no_vector_of_a_transformer(spark, tmp_path, monkeypatch):
    found = {}
    for tasks in (1, 2, 5, 16):
        store = TableStore(tmp_path / str(tasks))
        monkeypatch.setattr(encode_chunks, "_tasks", lambda *_, tasks=tasks: tasks)
        order = np.random.default_rng(tasks).permutation(len(TEXTS))
        put(store, dict(np.array(list(TEXTS.items()))[order].tolist()))
        run_encode(spark, store, encoder(kind="transformer_text"), as_of=FIRST)
        found[tasks] = vectors_of(store)
    wanted = unpack_vectors([found[1][item] for item in TEXTS], 384)
    for other in found.values():
        vectors = unpack_vectors([other[item] for item in TEXTS], 384)
        lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(vectors, axis=1)
        assert ((wanted * vectors).sum(axis=1) / lengths).min() >= 1 - 1e-6


def test_run_that_is_stopped_leaves_its_vectors_to_the_next_of_the_same_encoder(
    spark, store, stopped, small_chunks
):
    put(store, TEXTS)
    stopped(CONFIG)
    with pytest.raises(MissingTableError):
        store.latest("item_embedding")

    other = summary_of(run_encode(spark, store, encoder(dim=16), as_of=FIRST))
    assert (other["resumed"], other["encoded"]) == (0, len(set(TEXTS.values())))
    assert vectors_of(store) == true_vectors(TEXTS, dim=16)

    more = {**TEXTS, "new": "mug"}
    put(store, more)
    same = summary_of(run_encode(spark, store, CONFIG, as_of=FIRST))
    assert (same["resumed"], same["encoded"]) == (len(set(TEXTS.values())), 1)
    assert vectors_of(store) == true_vectors(more)
    assert not list((store.root / "_unpublished").glob("*"))


@pytest.mark.slow
def test_encoder_that_replaces_another_at_the_same_time_leaves_none_of_its_rows(spark, store):
    put(store, TEXTS)
    for dim in (16, 32):
        manifest = run_encode(spark, store, encoder(dim=dim), as_of=FIRST)
        assert summary_of(manifest)["encoded"] == len(set(TEXTS.values()))
        assert vectors_of(store) == true_vectors(TEXTS, dim=dim)
        assert set(store.read("item_embedding")[c.ENCODER_ID].to_pylist()) == {f"hash-v1-{dim}"}


def test_vectors_of_a_run_with_too_many_bad_rows_are_kept_for_the_next(spark, store):
    bad = {f"b{n}": None for n in range(130)}
    put(store, {**TEXTS, **bad})
    with pytest.raises(QuarantineError, match="130 of 250 rows"):
        run_encode(spark, store, CONFIG, as_of=FIRST)
    with pytest.raises(MissingTableError):
        store.latest("item_embedding")
    put(store, TEXTS)
    summary = summary_of(run_encode(spark, store, CONFIG, as_of=FIRST))
    assert (summary["resumed"], summary["encoded"]) == (len(set(TEXTS.values())), 0)
    assert vectors_of(store) == true_vectors(TEXTS)


def test_only_bad_rows_publish_nothing(spark, store):
    put(store, {"a": None, "b": " "})
    with pytest.raises(QuarantineError, match=r"2 of 2 rows .*{'no text': 2}"):
        run_encode(spark, store, CONFIG, as_of=FIRST)
    assert not list(store.root.glob("item_embedding/*"))
    assert reasons_of(store) == {"a": "no text", "b": "no text"}


POISON = {
    "huge": b"ten megabytes " * 800_000,
    "latin-1": "caf\u00e9".encode("latin-1"),
    "cut": "\u20ac".encode()[:2],
    "surrogate": b"a \xed\xa0\x80 b",
}
ODD = {
    "nulls": "tea\0pot\0",
    "emoji": "\U0001f375\U0001f375\U0001f600",
    "marks": "\u202e \ufeff\u0301\u0301 x",
    "long word": "x" * 100_000,
}


def unchecked_strings(values):
    """Return strings as another program may have written them, whatever their bytes."""
    return pa.array(values, pa.binary()).view(pa.string())


@pytest.mark.parametrize("kind", ["hash", pytest.param("transformer_text", marks=pytest.mark.slow)])
def test_poison_texts_are_set_aside_and_odd_ones_encoded(spark, store, kind):
    texts = {**{name: text.encode() for name, text in (ODD | TEXTS).items()}, **POISON}
    items = worlds.items([(item, at(1), None) for item in texts])
    column = unchecked_strings(list(texts.values()))
    worlds.publish(store, "items", items.set_column(2, c.TEXT, column), as_of=FIRST)
    run_encode(spark, store, encoder(kind=kind), as_of=FIRST)
    assert reasons_of(store) == {
        "huge": "text longer than 1000000 characters",
        **dict.fromkeys(["latin-1", "cut", "surrogate"], "text is not valid Unicode"),
    }
    found = vectors_of(store)
    assert found.keys() == ODD.keys() | TEXTS.keys()
    if kind == "hash":
        assert found == true_vectors(ODD | TEXTS)


def chunk_of(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb():
    """Return a PNG of a kilobyte that claims 4,000 megapixels."""
    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    parts = chunk_of(b"IHDR", header), chunk_of(b"IDAT", pixels), chunk_of(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def picture(shift=0):
    file = io.BytesIO()
    Image.fromarray(np.arange(shift, 48 + shift, dtype=np.uint8).reshape(4, 4, 3)).save(file, "PNG")
    return file.getvalue()


def sound(rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(rate)), rate, format="WAV")
    return file.getvalue()


def put_media(store, media, column, files, **paths):
    """Publish items whose files have these bytes, or that name these paths."""
    media.mkdir()
    for name, data in files.items():
        (media / name).write_bytes(data)
    (media / "folder").mkdir()
    (media / "loop").symlink_to(media / "loop")
    with (media / "sparse").open("wb") as file:
        file.truncate(10 << 30)
    named = {name: name.encode() for name in (*files, "folder", "loop", "sparse")} | paths
    items = worlds.items([(item, at(1), None, None) for item in named], column)
    place = items.column_names.index(column)
    items = items.set_column(place, column, unchecked_strings(list(named.values())))
    worlds.publish(store, "items", items, as_of=FIRST)


def media_config(folder, kind, media):
    return encoder(kind=kind, model=str(folder), media_root=media, max_quarantine_share=0.95)


ALWAYS_REFUSED = {
    "folder": "not a regular file",
    "loop": "no such file",
    "sparse": f"file larger than {64 << 20} bytes",
}


def test_poison_images_are_set_aside(spark, store, tmp_path, monkeypatch):
    save_clip(tmp_path / "clip")
    media, good = tmp_path / "media", picture()
    swapped = {"pipe": picture(1), "other": picture(2)}
    files = {"good": good, "bomb": bomb(), "cut": good[:-30], "audio": sound(), **swapped}
    put_media(store, media, c.IMAGE_PATH, files, latin=b"caf\xe9.png")
    encode_all = encode.encode_in_chunks

    def swap_and_encode(*args):
        """Put a pipe and another good image in the places of files that were described."""
        (media / "pipe").unlink()
        os.mkfifo(media / "pipe")
        (media / "other").write_bytes(good)
        return encode_all(*args)

    monkeypatch.setattr(encode, "encode_in_chunks", swap_and_encode)
    run_encode(spark, store, media_config(tmp_path / "clip", "vision", media), as_of=FIRST)
    assert reasons_of(store) == {
        **ALWAYS_REFUSED,
        "bomb": "image can't be decoded (DecompressionBombError)",
        "cut": "image can't be decoded (OSError)",
        "audio": "image can't be decoded (UnidentifiedImageError)",
        "pipe": "not a regular file",
        "other": "file was replaced while the job ran",
        "latin": "path is not valid Unicode",
    }
    assert vectors_of(store).keys() == {"good"}


def test_poison_sounds_are_set_aside(spark, store, tmp_path):
    save_clap(tmp_path / "clap")
    good = sound()
    fast = good[:24] + struct.pack("<I", 10**9) + good[28:]
    files = {"good": good, "cut": good[: len(good) // 2], "fast": fast, "image": picture()}
    put_media(store, tmp_path / "media", c.AUDIO_PATH, files)
    config = media_config(tmp_path / "clap", "audio", tmp_path / "media")
    run_encode(spark, store, config, as_of=FIRST)
    assert reasons_of(store) == {
        **ALWAYS_REFUSED,
        "cut": "sound is cut off",
        "fast": "sound has no usual sampling rate",
        "image": "sound can't be decoded (LibsndfileError)",
    }
    assert vectors_of(store).keys() == {"good"}


def test_progress_grows_to_the_end_and_names_the_jobs(spark, store, monkeypatch, small_chunks):
    put(store, TEXTS)
    monkeypatch.setattr(job_watch, "POLL_S", 0.02)
    seen: list[Progress] = []
    run_encode(spark, store, CONFIG, as_of=FIRST, watch=seen.append)
    distinct = len(set(TEXTS.values()))
    assert {progress.total for progress in seen} == {distinct}
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert 0 <= done[0] < done[-1] <= distinct
    jobs = spark.sparkContext._jsc.sc().statusStore().jobsList(None)
    named = [jobs.apply(n).description() for n in range(jobs.size())]
    named = [option.get() for option in named if option.isDefined()]
    assert f"encode: 0 of {distinct} (0 %)" in named
    assert spark.sparkContext.getLocalProperty("spark.job.description") in (None, "")


def test_summary_counts_what_a_naive_count_finds(spark, store, small_chunks):
    put(store, dict(list(TEXTS.items())[:30]))
    run_encode(spark, store, CONFIG, as_of=FIRST)
    put(store, {**TEXTS, "blank": " ", "none": None}, as_of=SECOND)
    summary = summary_of(run_encode(spark, store, CONFIG, as_of=SECOND))
    known, new = set(list(TEXTS.values())[:30]), set(list(TEXTS.values())[30:])
    assert summary["items"] == len(TEXTS) + 2
    assert summary["skipped"] == 30
    assert summary["reused"] == len(known & new)
    assert summary["encoded"] == len(new - known)
    assert summary["resumed"] == 0
    assert summary["quarantined"] == 2
    assert summary["distinct"] == len(new) + 1  # the blank text and the missing one are alike
