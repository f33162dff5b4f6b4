"""An encoder without weights: words hashed to random directions.

For dry runs and tests: fast, deterministic on any machine, and texts that share
words get similar vectors. It knows no synonyms; never quote a lift made with it
as one of content understanding.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.pipeline import encode_or_raise
from sail_features.encoders.protocol import Refusal
from sail_features.encoders.texts import refuse_text

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class HashEncoder:
    """Sum of one random direction a word, damped by count, scaled to length 1.

    Parameters
    ----------
    dim : length of a vector; two texts without a common word have a cosine of
        about 0 plus or minus 1 / sqrt(dim).

    Notes
    -----
    A text without a word is hashed whole, so that every text has a direction.

    References
    ----------
    Weinberger et al., "Feature Hashing for Large Scale Multitask Learning",
    ICML 2009, for the idea of signed hashing.

    Examples
    --------
    >>> vectors = HashEncoder(dim=64).encode(["red wine", "wine, red", "garden tools"])
    >>> (vectors @ vectors[0]).round(1)[:2].tolist()
    [1.0, 1.0]
    """

    dim: int = 256

    @property
    def encoder_id(self) -> str:
        """Name, version and dimension."""
        return f"hash-v1-{self.dim}"

    @property
    def trained_until(self) -> datetime | None:
        """Nothing was trained."""
        return None

    @property
    def device(self) -> str:
        """No accelerator would help."""
        return "cpu"

    @property
    def window_rows(self) -> int:
        """Texts of any length cost alike here, so a small window will do."""
        return 4096

    def prepare(self, contents: Sequence[str]) -> list[Counter[str] | Refusal]:
        """Count the words of each text."""
        return [refuse_text(text) or _count_words(text) for text in contents]

    def cost(self, prepared: Counter[str]) -> int:
        """One: a text's time hardly depends on its neighbours."""
        return 1

    def forward(self, batch: Sequence[Counter[str]]) -> NDArray[np.float32]:
        """Return shape (len(batch), dim)."""
        vectors = np.zeros((len(batch), self.dim), np.float32)
        for row, words in enumerate(batch):
            for word, count in sorted(words.items()):
                vectors[row] += np.float32(np.log1p(count)) * _direction(word, self.dim)
        return vectors

    def load(self) -> None:
        """Nothing to load."""

    def encode(self, contents: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(contents), dim), rows of length 1."""
        return encode_or_raise(self, contents)


def _count_words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower())) or Counter([text])


@lru_cache(maxsize=65_536)
def _direction(word: str, dim: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)
