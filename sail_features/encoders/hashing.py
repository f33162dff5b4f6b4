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

from sail_features.embeddings import normalise

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

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), dim)."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            words = Counter(_WORD.findall(text.lower())) or Counter([text])
            for word, count in sorted(words.items()):
                vectors[row] += np.float32(np.log1p(count)) * _direction(word, self.dim)
        return normalise(vectors)


@lru_cache(maxsize=65_536)
def _direction(word: str, dim: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)
