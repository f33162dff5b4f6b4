"""Render the synthetic items' images and sounds: simple, small, and told apart by topic.

========= ============================ =====================================
what      image (96 x 96 PNG)          sound (1 s, 16 kHz mono WAV)
========= ============================ =====================================
topic     hue of the shape             pitch
sub-topic shape                        pulses a second
second    hue of the frame             pitch of a quieter overtone
========= ============================ =====================================

About 2 ms an item.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sail_features import columns as c
from sail_features.datasets.synthetic_items import SyntheticItems
from sail_features.datasets.synthetic_topics import SUBTOPICS_PER_TOPIC, TOPICS

IMAGE_SIZE: Final = 96
SAMPLE_RATE: Final = 16_000

_FRAME: Final = 10
_LOWEST_HZ: Final = 220.0
_PULSES_HZ: Final = (1.0, 2.0, 4.0, 8.0)
_HISS: Final = 0.02

Colour = tuple[int, int, int]
Draw = Callable[[ImageDraw.ImageDraw, list[int], Colour], None]


def render_media(
    items: SyntheticItems, folder: Path, rng: np.random.Generator
) -> dict[str, list[Path]]:
    """Write an image and a sound of each item below ``folder``.

    Returns
    -------
    dict
        ``image_path`` and ``audio_path``: absolute paths in the items' order.
    """
    images, sounds = folder.resolve() / "images", folder.resolve() / "audio"
    for place in (images, sounds):
        place.mkdir(parents=True, exist_ok=True)
    paths: dict[str, list[Path]] = {c.IMAGE_PATH: [], c.AUDIO_PATH: []}
    for item_id, main, second in zip(items.ids, items.main, items.second, strict=True):
        image, sound = images / f"{item_id}.png", sounds / f"{item_id}.wav"
        render_image(int(main), int(second), rng).save(image)
        soundfile.write(str(sound), render_sound(int(main), int(second), rng), SAMPLE_RATE)
        paths[c.IMAGE_PATH].append(image)
        paths[c.AUDIO_PATH].append(sound)
    return paths


def render_image(main: int, second: int, rng: np.random.Generator) -> Image.Image:
    """Return the image of an item about two sub-topics; place and size of the shape vary."""
    image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), _colour(second // SUBTOPICS_PER_TOPIC))
    draw = ImageDraw.Draw(image)
    inner = IMAGE_SIZE - _FRAME
    draw.rectangle([_FRAME, _FRAME, inner, inner], fill=(245, 245, 240))
    size = int(rng.integers(36, 60))
    left, top = (int(x) for x in rng.integers(_FRAME, inner - size, size=2))
    box = [left, top, left + size, top + size]
    _SHAPES[main % SUBTOPICS_PER_TOPIC](draw, box, _colour(main // SUBTOPICS_PER_TOPIC))
    return image


def _colour(topic: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(topic / len(TOPICS), 0.85, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw_triangle(draw: ImageDraw.ImageDraw, box: list[int], colour: Colour) -> None:
    left, top, right, bottom = box
    draw.polygon([(left, bottom), ((left + right) // 2, top), (right, bottom)], fill=colour)


def _draw_stripes(draw: ImageDraw.ImageDraw, box: list[int], colour: Colour) -> None:
    left, top, right, bottom = box
    for x in range(left, right, 12):
        draw.rectangle([x, top, min(x + 5, right), bottom], fill=colour)


_SHAPES: Final[tuple[Draw, ...]] = (
    lambda draw, box, colour: draw.ellipse(box, fill=colour),
    lambda draw, box, colour: draw.rectangle(box, fill=colour),
    _draw_triangle,
    _draw_stripes,
)


def render_sound(main: int, second: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one second of sound, within -1 and 1, of an item about two sub-topics."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    pulses = _PULSES_HZ[main % SUBTOPICS_PER_TOPIC]
    loudness = 0.5 + 0.5 * np.cos(2 * np.pi * pulses * seconds)
    tone = np.sin(2 * np.pi * _pitch_hz(main // SUBTOPICS_PER_TOPIC) * seconds)
    overtone = np.sin(4 * np.pi * _pitch_hz(second // SUBTOPICS_PER_TOPIC) * seconds)
    hiss = _HISS * rng.normal(size=SAMPLE_RATE)
    sound = 0.6 * loudness * tone + 0.2 * overtone + hiss
    return np.clip(sound, -1, 1).astype(np.float32)


def _pitch_hz(topic: int) -> float:
    """Return a topic's pitch: two semitones apart, over two octaves."""
    return float(_LOWEST_HZ * 2.0 ** (topic / 6))
