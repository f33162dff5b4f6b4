"""The items of the synthetic world: what they are about, and how they present it.

An item is about one sub-topic mostly and another partly; its latent vector is the
sum of both, and a part of its own that nothing shows. Text, image and sound each
carry the two sub-topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.datasets.synthetic_topics import (
    DEPARTMENTS,
    SUBTOPICS,
    SUBTOPICS_PER_TOPIC,
    TOPICS,
    TOPICS_PER_DEPARTMENT,
    WORDS,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LATENT_DIM: Final = 32

# Shares of an item's latent before it is brought to length 1; chosen here, as are
# all figures below: an encoder that reads both sub-topics recovers most of it.
_MAIN, _SECOND, _OWN = 0.8, 0.45, 0.3
_SUBTOPIC_SPREAD: Final = 0.7
"""Length of a sub-topic's own part beside its topic's: cosine 0.67 within a topic."""
_ZIPF_EXPONENT: Final = 0.8
_COLD_SHARE: Final = 0.3
"""Items that arrive while the log runs; the others are a day older than it."""
_CATEGORY_NOISE: Final = 0.1
_MAIN_WORDS, _SECOND_WORDS = 5, 2


@dataclass(frozen=True)
class SyntheticItems:
    """Items as arrays of the same length.

    Parameters
    ----------
    main, second : sub-topic numbers (`synthetic_topics.SUBTOPICS`).
    latents : (items, `LATENT_DIM`), of length 1.
    popularity : share of exposure, before who is live is known; sums to 1.
    arrival_days : when the item becomes known, in days since the log's start.
    departments : category number, one in ten of them wrong.
    prices : in no currency.
    texts : title and text.
    """

    main: Ints
    second: Ints
    latents: Floats
    popularity: Floats
    arrival_days: Floats
    departments: Ints
    prices: Floats
    texts: tuple[tuple[str, str], ...]

    @property
    def ids(self) -> list[str]:
        """Item ids, ``i00000`` and so on."""
        return [f"i{number:05d}" for number in range(len(self.main))]


def unit(vectors: Floats) -> Floats:
    """Return vectors brought to length 1 along the last axis."""
    lengths: Floats = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths


def draw_subtopic_centres(rng: np.random.Generator) -> Floats:
    """Return (sub-topics, `LATENT_DIM`) unit vectors, alike within a topic."""
    topics = unit(rng.normal(size=(len(TOPICS), LATENT_DIM)))
    own = unit(rng.normal(size=(len(SUBTOPICS), LATENT_DIM)))
    return unit(np.repeat(topics, SUBTOPICS_PER_TOPIC, axis=0) + _SUBTOPIC_SPREAD * own)


def draw_items(
    count: int, days: float, centres: Floats, rng: np.random.Generator
) -> SyntheticItems:
    """Draw ``count`` items of a log of ``days``."""
    main = rng.integers(len(SUBTOPICS), size=count)
    second = rng.integers(len(SUBTOPICS), size=count)
    own = unit(rng.normal(size=(count, LATENT_DIM)))
    latents = unit(_MAIN * centres[main] + _SECOND * centres[second] + _OWN * own)
    popularity = (1.0 + rng.permutation(count)) ** -_ZIPF_EXPONENT
    arrival = np.where(rng.random(count) < _COLD_SHARE, rng.random(count) * days, -1.0)
    departments = main // SUBTOPICS_PER_TOPIC // TOPICS_PER_DEPARTMENT
    wrong = rng.random(count) < _CATEGORY_NOISE
    departments = np.where(wrong, rng.integers(len(DEPARTMENTS), size=count), departments)
    return SyntheticItems(
        main=main,
        second=second,
        latents=latents,
        popularity=popularity / popularity.sum(),
        arrival_days=arrival,
        departments=departments,
        prices=np.round(rng.lognormal(2.5, 0.7, size=count), 2),
        texts=tuple(_write_text(*pair, rng) for pair in zip(main, second, strict=True)),
    )


def _write_text(main: int, second: int, rng: np.random.Generator) -> tuple[str, str]:
    """Return a title of two nouns, and a text of those and five more."""
    head, tail, *rest = rng.choice(WORDS[main], _MAIN_WORDS, replace=False)
    others = rng.choice(WORDS[second], _SECOND_WORDS, replace=False)
    title = f"{head.capitalize()} {tail}"
    return title, f"{title}: {', '.join([*rest, *others[:-1]])} and {others[-1]}."


def build_item_table(
    items: SyntheticItems, times: pa.Array, media: dict[str, list[Path]]
) -> pa.Table:
    """Return the item table; ``media`` holds paths by column, none where not rendered."""
    titles, texts = zip(*items.texts, strict=True)
    return pa.table(
        {
            c.ITEM_ID: items.ids,
            c.EVENT_TIMESTAMP: times,
            c.TITLE: titles,
            c.TEXT: texts,
            c.CATEGORY: [DEPARTMENTS[number] for number in items.departments],
            c.PRICE: items.prices,
            **{name: [str(path) for path in paths] for name, paths in media.items()},
        }
    )
