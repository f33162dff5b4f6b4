"""Sounds by the audio tower of CLAP, decoded by soundfile; deterministic.

A sound of at most ten seconds is repeated until it fills them, a longer one is cut into
chunks of ten seconds from its start, whose vectors are averaged. So the feature
extractor never gets more than ten seconds: beyond that it would crop at random.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from math import gcd
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.checkpoints import (
    SHORT_DTYPES,
    find_checkpoint,
    load_model,
    load_part,
    name_checkpoint,
    read_json,
    read_size,
)
from sail_features.encoders.devices import ON_CPU, Placement
from sail_features.encoders.media import BYTES_ONLY, MediaReader, RefusedError, prepare_each
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.encoders.protocol import Content, Refusal
from sail_features.encoders.vision import mean_of_parts
from sail_features.errors import ModelError

CHUNK_SECONDS: Final = 10
LEAST_REST_SECONDS: Final = 1
"""A rest shorter than this behind the last whole chunk is left out (chosen here)."""
MAX_SECONDS: Final = 600
_OGG_HEADER: Final = 27
_OGG_LAST: Final = 0x04
RATES: Final = range(1_000, 384_001)
"""Sampling rates that are taken for real; others would make resampling explode."""


class AudioEncoder:
    """A frozen CLAP audio tower without fusion.

    Parameters
    ----------
    model : a local folder or a Hugging Face id that is in the local cache.
    reader : where sound files may lie.
    placement : device and dtype; the CPU in float32 by default.

    Raises
    ------
    ModelError
        No such model, no safetensors, or a model with fusion: that crops at random,
        and mixes neighbours of a batch (LAION-AI/CLAP#90).

    References
    ----------
    Wu et al., "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion
    and Keyword-to-Caption Augmentation", ICASSP 2023, section 2.3 (repeat padding).
    """

    trained_until: datetime | None = None
    window_rows: int = 64

    def __init__(
        self,
        model: str,
        *,
        reader: MediaReader = BYTES_ONLY,
        placement: Placement = ON_CPU,
    ) -> None:
        self.folder = find_checkpoint(model)
        self.reader, self.placement = reader, placement
        self._config = read_json(self.folder / "config.json")
        audio = self._config.get("audio_config", self._config)
        if self._config.get("model_type") not in ("clap", "clap_audio_model"):
            raise ModelError.not_found(model, "it is no CLAP model")
        if audio.get("enable_fusion"):
            raise ModelError.not_found(model, "it has fusion on, which crops at random")
        self.dim = read_size({**audio, **self._config}, ["projection_dim"], self.folder)
        self._patches = int(audio.get("spec_size", 256) // audio.get("patch_size", 4)) ** 2

    @cached_property
    def encoder_id(self) -> str:
        """Name, chunking, dtype and a digest of weights and preprocessing."""
        dtype = SHORT_DTYPES[self.placement.dtype]
        return name_checkpoint(self.folder, self._config, f"{CHUNK_SECONDS}s", dtype)

    @property
    def device(self) -> str:
        """Where `forward` computes."""
        return self.placement.device

    @cached_property
    def _extractor(self) -> Any:
        from transformers import ClapFeatureExtractor

        return load_part(ClapFeatureExtractor.from_pretrained, self.folder)

    @cached_property
    def _model(self) -> Any:
        from transformers import ClapAudioModelWithProjection

        return load_model(
            ClapAudioModelWithProjection,
            self.folder,
            self.placement,
            unused="text_",
            projection_dim=self.dim,
        )

    def prepare(self, contents: Sequence[Content]) -> list[NDArray[np.float32] | Refusal]:
        """Decode, resample and take the spectrogram: arrays (chunks, 1, frames, mels)."""
        _ = self._extractor  # loaded once, not by several threads
        threads = self.placement.threads or 1
        return prepare_each(self._prepare_one, contents, threads=threads, kind="sound")

    def _prepare_one(self, content: Content) -> NDArray[np.float32]:
        rate = self._extractor.sampling_rate
        (data,) = self.reader.read_each(content, 1)
        sound, own_rate = decode_sound(data)
        chunks = cut_chunks(resample(sound, own_rate, rate), rate)
        features = self._extractor(
            chunks,
            truncation="rand_trunc",
            padding="repeatpad",
            sampling_rate=rate,
            return_tensors="np",
        )["input_features"]
        return np.asarray(features, np.float32)

    def cost(self, prepared: NDArray[np.float32]) -> int:
        """Return chunks times patches of a spectrogram."""
        return len(prepared) * self._patches

    def forward(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the mean over each sound's chunks, shape (len(batch), dim)."""
        import torch

        chunks = torch.from_numpy(np.concatenate(batch)).to(self.device)
        with torch.inference_mode():
            if self.device != "cpu" and self.placement.dtype == "bfloat16":
                chunks = chunks.bfloat16()
            vectors = self._model(input_features=chunks).audio_embeds
            return mean_of_parts(vectors.float().cpu().numpy(), [len(item) for item in batch])

    def load(self) -> None:
        """Read weights and preprocessing, if that isn't done yet."""
        _ = self._model, self._extractor

    def encode(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """Return shape (len(contents), dim), rows of length 1."""
        return encode_or_raise(self, contents)


def decode_sound(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Return one channel, the mean of all, and its sampling rate.

    Raises
    ------
    RefusedError
        The sound is empty, cut off, too long, or not finite.
    """
    import soundfile

    if _is_cut_off(data):
        raise RefusedError("sound is cut off")
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        rate = int(file.samplerate)
        if rate not in RATES:
            raise RefusedError("sound has no usual sampling rate")
        if file.frames > MAX_SECONDS * rate:
            raise RefusedError(f"sound longer than {MAX_SECONDS} s")
        channels = file.read(MAX_SECONDS * rate, dtype="float32", always_2d=True)
        if len(channels) < file.frames:
            raise RefusedError("sound is cut off")
    if not len(channels):
        raise RefusedError("sound has no samples")
    mono: NDArray[np.float32] = channels.mean(axis=1)
    if not np.isfinite(mono).all():
        raise RefusedError("sound has samples that are not finite")
    return mono, rate


def resample(sound: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Return the sound at another sampling rate (polyphase filter, deterministic)."""
    if rate == wanted:
        return sound
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    return np.asarray(resample_poly(sound, wanted // common, rate // common), np.float32)


def cut_chunks(sound: NDArray[np.float32], rate: int) -> list[NDArray[np.float32]]:
    """Return chunks of ten seconds, the last one shorter.

    Examples
    --------
    >>> [len(chunk) for chunk in cut_chunks(np.zeros(25, np.float32), rate=1)]
    [10, 10, 5]
    >>> [len(chunk) for chunk in cut_chunks(np.zeros(201, np.float32), rate=10)]
    [100, 100]
    """
    size = CHUNK_SECONDS * rate
    chunks = [sound[start : start + size] for start in range(0, len(sound), size)]
    if len(chunks) > 1 and len(chunks[-1]) < LEAST_REST_SECONDS * rate:
        chunks.pop()
    return chunks


def _is_cut_off(data: bytes) -> bool:
    """Tell whether a WAV or an Ogg lacks its end, which libsndfile would not mind.

    A WAV says how long it is; the last page of an Ogg is marked as such (RFC 3533,
    section 6). An MP3 says neither.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        (declared,) = struct.unpack("<I", data[4:8])
        streamed = declared in (0, 0xFFFFFFFF)
        return not streamed and declared + 8 > len(data) + 1
    if data[:4] == b"OggS":
        page = data[data.rfind(b"OggS") :]
        if len(page) < _OGG_HEADER:
            return True
        kind, segments = page[5], page[_OGG_HEADER - 1]
        lengths = page[_OGG_HEADER : _OGG_HEADER + segments]
        is_last = bool(kind & _OGG_LAST)
        return not is_last or len(page) < _OGG_HEADER + segments + sum(lengths)
    return False
