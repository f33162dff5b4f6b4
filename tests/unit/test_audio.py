"""The CLAP audio tower: a small random model, real sounds, broken files."""

from __future__ import annotations

import io
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_clap

from sail_features.config import EncoderConfig
from sail_features.encoders.audio import AudioEncoder, cut_chunks, decode_sound, resample
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import Placement
from sail_features.encoders.pipeline import encode_contents
from sail_features.errors import ModelError
from sail_features.testing.encoder_suite import check_encoder, check_refusals

torch = pytest.importorskip("torch")
soundfile = pytest.importorskip("soundfile")
DATA = Path(__file__).parents[3] / "shared" / "data" / "esc10"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("audio") / "clap"
    save_clap(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clap(model):
    return AudioEncoder(model)


def tone(seconds=1.0, *, pitch=440, rate=48_000, channels=1, kind="WAV", **options) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * pitch * time) * (1 + 0.5 * np.sin(3 * time))
    file = io.BytesIO()
    soundfile.write(file, np.repeat(wave[:, None], channels, 1), rate, format=kind, **options)
    return file.getvalue()


TONES = [tone(1), tone(2, pitch=200), tone(11, pitch=2000), tone(1)]


def test_tower_keeps_the_promises_of_the_suite(model):
    assert AudioEncoder(model).dim == 24
    check_encoder(lambda: AudioEncoder(model), TONES)


def test_vectors_are_those_of_transformers(model, clap):
    from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

    sound, rate = decode_sound(TONES[0])
    features = ClapFeatureExtractor.from_pretrained(model)(
        sound, sampling_rate=rate, truncation="rand_trunc", return_tensors="pt"
    )
    plain = ClapAudioModelWithProjection.from_pretrained(model).eval()
    with torch.inference_mode():
        found = plain(input_features=features["input_features"]).audio_embeds
    expected = torch.nn.functional.normalize(found).numpy()[0]
    assert clap.encode(TONES[:1])[0] @ expected > 1 - 1e-6


def test_long_sounds_are_the_mean_of_their_chunks(clap):
    (long,) = clap.prepare([tone(25)])
    assert len(long) == 3
    alone = np.concatenate([clap.forward([chunk[None]]) for chunk in long])
    assert np.allclose(clap.forward([long])[0], alone.mean(axis=0), atol=1e-5)


def test_long_sounds_get_the_same_vector_every_time(clap):
    first = clap.encode([tone(25)])
    np.random.seed(1)  # what the extractor would crop by
    assert np.array_equal(clap.encode([tone(25)]), first)


def test_a_rest_under_a_second_is_left_out():
    assert [len(chunk) for chunk in cut_chunks(np.zeros(1005, np.float32), 50)] == [500, 500]
    assert [len(chunk) for chunk in cut_chunks(np.zeros(20, np.float32), 50)] == [20]


def test_bf16_is_near_and_has_its_own_id(model, clap):
    half = AudioEncoder(model, placement=Placement(dtype="bfloat16", threads=2))
    assert half.encoder_id != clap.encoder_id
    assert np.sum(half.encode(TONES) * clap.encode(TONES), axis=1).min() > 0.999


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_any_sampling_rate_gives_the_same_sound(rate):
    expected, _ = decode_sound(tone(1, rate=48_000))
    sound, own = decode_sound(tone(1, rate=rate))
    found = resample(sound, own, 48_000)
    assert len(found) == len(expected)
    assert np.abs(found - expected)[1000:-1000].max() < 0.01


def test_channels_are_averaged(clap):
    one, other = clap.encode([tone(1), tone(1, channels=2)])
    assert one @ other > 1 - 1e-6


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_formats_are_read(clap, kind):
    (vector,) = clap.encode([tone(1, kind=kind)])
    assert vector @ clap.encode([tone(1)])[0] > 0.99


def test_broken_sounds_are_refused_with_a_reason(clap, tmp_path):
    wav, flac = tone(1), tone(1, kind="FLAC")
    nan = io.BytesIO()
    soundfile.write(nan, np.full(100, np.nan), 48_000, format="WAV", subtype="FLOAT")
    rate = bytearray(wav)
    rate[24:28] = struct.pack("<I", 1)
    bad = [
        b"", b"garbage", wav[:20], wav[: len(wav) // 2], flac[: len(flac) // 2], flac[:40],
        tone(0), nan.getvalue(), bytes(rate), tone(601, rate=8000), None, 7, ["a"], "no/root.wav",
    ]  # fmt: skip
    reasons = check_refusals(clap, TONES[0], bad)
    assert reasons[1] == "sound can't be decoded (LibsndfileError)"
    assert reasons[3] == "sound is cut off"
    assert reasons[6:10] == [
        "sound has no samples",
        "sound has samples that are not finite",
        "sound has no usual sampling rate",
        "sound longer than 600 s",
    ]


def test_models_that_crop_at_random_are_refused(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "fused")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "enable_fusion": True}))
    with pytest.raises(ModelError, match="fusion on, which crops at random"):
        AudioEncoder(str(folder))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(ModelError, match="no CLAP model"):
        AudioEncoder(str(folder))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_real_sounds_by_path_whole_and_cut_off(model):
    paths = sorted((DATA / "audio").glob("*.ogg"))[:8]
    encoder = build_encoder(
        EncoderConfig(kind="audio", model=model, media_root=DATA, dtype="float32")
    )
    data = paths[0].read_bytes()
    cuts = [data[: len(data) * share // 5] for share in range(5)]
    encoded = encode_contents(encoder, [*(str(path) for path in paths), *cuts])
    assert encoded.reasons[:8] == [None] * 8
    assert all(encoded.reasons[8:])
    again = encode_contents(encoder, [path.read_bytes() for path in reversed(paths)])
    assert np.sum(encoded.vectors[:8] * again.vectors[::-1], axis=1).min() > 1 - 1e-6
