"""What every text encoder must do, for the jobs to be able to rely on it.

The encode job encodes each distinct text once, in batches that depend on the
cluster, and stores the vectors under the encoder's id. That is right only if a
text's vector depends on the text and on that id alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.protocol import TextEncoder

TEXTS: Final = (
    "red wine from the Rhone valley",
    "a",
    "White hanging heart t-light holder",
    "CRÈME BRÛLÉE dish, 12 cm",
    "こんにちは世界",
    "مرحبا بالعالم",
    "🎈🎈 party pack",
    "!!! ???",
    "tabs\tand\nlines",
    "red wine from the Rhone valley",
    "garden " * 3000,
)
"""Short, long, repeated, without a word, and in several scripts."""


def check_text_encoder(build: Callable[[], TextEncoder], *, tolerance: float = 1e-5) -> None:
    """Hold an encoder against all that the jobs rely on.

    Parameters
    ----------
    build : makes the encoder; called twice, as two workers would.
    tolerance : how far a vector's numbers may differ between two batches.

    Raises
    ------
    AssertionError
        The first promise that the encoder breaks.

    Examples
    --------
    >>> from sail_features.encoders.hashing import HashEncoder
    >>> check_text_encoder(lambda: HashEncoder(dim=64))
    """
    encoder, other = build(), build()
    vectors = encoder.encode(TEXTS)
    _check_form(encoder, vectors)
    _check_identity(encoder, other)
    _check_no_texts(encoder)
    _check_same_text_same_vector(vectors, tolerance)
    _check_texts_are_told_apart(vectors)
    for what, order in _orders(len(TEXTS)):
        found = encoder.encode([TEXTS[row] for row in order])
        _check_equal(found, vectors[order], tolerance, f"a vector changes when {what}")
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    _check_equal(alone, vectors, tolerance, "a vector changes when its text comes alone")
    _check_equal(other.encode(TEXTS), vectors, tolerance, "two instances of one encoder disagree")


def _orders(count: int) -> list[tuple[str, list[int]]]:
    rows = list(range(count))
    shuffled = np.random.default_rng(0).permutation(count).tolist()
    return [
        ("texts come in reverse order", rows[::-1]),
        ("texts are shuffled", shuffled),
        ("its neighbours change", rows[::2]),
        ("texts repeat", rows + rows),
    ]


def _check_form(encoder: TextEncoder, vectors: NDArray[Any]) -> None:
    expected = (len(TEXTS), encoder.dim)
    _check(vectors.shape == expected, f"vectors have shape {vectors.shape}, expected {expected}")
    _check(vectors.dtype == np.float32, f"vectors are {vectors.dtype}, expected float32")
    _check(bool(np.isfinite(vectors).all()), f"no vector: {_texts(~np.isfinite(vectors).all(1))}")
    off = np.abs(np.linalg.norm(vectors, axis=1) - 1) > 1e-3
    _check(not off.any(), f"vectors aren't of length 1: {_texts(off)}")


def _check_identity(encoder: TextEncoder, other: TextEncoder) -> None:
    _check(bool(encoder.encoder_id.strip()), "encoder_id is empty")
    _check(
        encoder.encoder_id == other.encoder_id,
        f"encoder_id isn't stable: {encoder.encoder_id!r}, then {other.encoder_id!r}",
    )
    until = encoder.trained_until
    _check(until is None or until.tzinfo is not None, f"trained_until has no zone: {until}")


def _check_no_texts(encoder: TextEncoder) -> None:
    shape = encoder.encode([]).shape
    _check(shape == (0, encoder.dim), f"no texts give shape {shape}, expected (0, {encoder.dim})")


def _check_same_text_same_vector(vectors: NDArray[Any], tolerance: float) -> None:
    first = [TEXTS.index(text) for text in TEXTS]
    _check_equal(vectors[first], vectors, tolerance, "the same text twice gives two vectors")


def _check_texts_are_told_apart(vectors: NDArray[Any]) -> None:
    first = sorted({TEXTS.index(text) for text in TEXTS})
    spread = np.ptp(vectors[first], axis=0).max()
    _check(spread > 1e-3, "all texts get the same vector")


def _check_equal(
    found: NDArray[Any], expected: NDArray[Any], tolerance: float, problem: str
) -> None:
    off = float(np.abs(found - expected).max())
    _check(off <= tolerance, f"{problem}: by {off:.1e}, allowed {tolerance:.1e}")


def _texts(rows: Sequence[bool] | NDArray[np.bool_]) -> str:
    return ", ".join(repr(text[:20]) for text, row in zip(TEXTS, rows, strict=True) if row)


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise AssertionError(problem)
