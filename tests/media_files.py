"""Small images and sounds as the bytes of files."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from PIL import Image


def picture(seed: int) -> bytes:
    """Return a PNG of random patches."""
    pixels = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((64, 48)).save(file, "PNG")
    return file.getvalue()


def sound(pitch: float, samples: int = 16_000) -> bytes:
    """Return a WAV of one tone, at 16 kHz."""
    file = io.BytesIO()
    wave = np.sin(2 * np.pi * pitch * np.arange(samples) / 16_000)
    soundfile.write(file, wave, 16_000, format="WAV")
    return file.getvalue()
