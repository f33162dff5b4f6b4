"""The encoder without weights, and the choice among encoders."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.config import EncoderConfig
from sail_features.encoders import devices
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.checkpoints import SHORT_DTYPES
from sail_features.encoders.devices import place, resolve_encoder_config
from sail_features.encoders.hashing import HashEncoder
from sail_features.errors import ConfigError
from sail_features.testing.encoder_suite import check_refusals, check_text_encoder


@pytest.mark.parametrize("dim", [8, 256])
def test_hash_encoder_keeps_the_promises_of_the_suite(dim):
    check_text_encoder(lambda: HashEncoder(dim), tolerance=0)


def test_shared_words_make_texts_similar():
    red, wine, tools = HashEncoder().encode(["red wine", "white wine", "garden tools"])
    assert red @ wine > 0.3
    assert abs(red @ tools) < 0.3


def test_case_order_and_punctuation_of_words_do_not_matter():
    one, other = HashEncoder().encode(["Red, WINE!", "wine red"])
    assert np.allclose(one, other, atol=1e-6)


@given(st.lists(st.text(max_size=12).filter(str.strip), max_size=4))
def test_every_text_has_a_direction(texts):
    vectors = HashEncoder(16).encode(texts)
    assert vectors.shape == (len(texts), 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vectors_are_the_same_in_another_process():
    code = (
        "from sail_features.encoders.hashing import HashEncoder;"
        "print(HashEncoder(8).encode(['red wine']).tobytes().hex())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == HashEncoder(8).encode(["red wine"]).tobytes().hex()


def test_dimension_is_in_the_id():
    assert HashEncoder(8).encoder_id != HashEncoder(16).encoder_id


def test_hash_encoder_refuses_what_is_no_text():
    assert check_refusals(HashEncoder(), "red wine", ["", None, 3]) == ["no text"] * 3


def test_vision_and_audio_need_a_model():
    for kind in ("vision", "audio"):
        with pytest.raises(ConfigError, match=f"the {kind} encoder has no built-in model"):
            build_encoder(EncoderConfig(kind=kind))


def test_automatic_dtype_is_resolved_once_with_its_reason(monkeypatch):
    auto = EncoderConfig(dtype="auto")
    for flags, dtype, reason in [
        ({"avx512_bf16"}, "bfloat16", "this CPU has avx512_bf16"),
        ({"avx2"}, "float32", "this CPU has no bf16 instructions"),
    ]:
        monkeypatch.setattr(devices, "_cpu_flags", lambda flags=flags: frozenset(flags))
        resolved, why = resolve_encoder_config(auto)
        assert (resolved.dtype, why) == (dtype, reason)
        monkeypatch.setattr(devices, "_cpu_flags", frozenset)
        placement = place(resolved, threads=2)
        assert (placement.device, placement.dtype, placement.threads) == ("cpu", dtype, 2)
        assert placement.reasons["dtype"] == "set by encoder.dtype"
        assert f"-{SHORT_DTYPES[dtype]}-" in build_encoder(resolved).encoder_id


def test_gpu_that_is_not_there_is_refused():
    pytest.importorskip("torch")
    with pytest.raises(ConfigError, match=r"cuda:97 was assigned, but this process sees \d+ GPUs"):
        place(EncoderConfig(), device="cuda:97")


def test_configuration_names_the_encoder():
    assert build_encoder(EncoderConfig(kind="hash", dim=16)) == HashEncoder(16)
    assert (
        build_encoder(EncoderConfig(max_tokens=16)).encoder_id
        != build_encoder(EncoderConfig(max_tokens=17)).encoder_id
    )
