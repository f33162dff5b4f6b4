"""What every encoder must do, for the jobs to be able to rely on it.

The encode job encodes each distinct content once, in batches that depend on the
cluster, and stores the vectors under the encoder's id. That is right only if a
content's vector depends on the content and on that id alone, and if a broken content
is refused without a trace in the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.protocol import Content, Encoder, Refusal

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


def check_text_encoder(build: Callable[[], Encoder], *, tolerance: float = 1e-5) -> None:
    """Hold a text encoder against all that the jobs rely on; see `check_encoder`.

    Examples
    --------
    >>> from sail_features.encoders.hashing import HashEncoder
    >>> check_text_encoder(lambda: HashEncoder(dim=64))
    """
    check_encoder(build, TEXTS, tolerance=tolerance)


def check_encoder(
    build: Callable[[], Encoder], contents: Sequence[Content], *, tolerance: float = 1e-5
) -> None:
    """Hold an encoder against all that the jobs rely on.

    Parameters
    ----------
    build : makes the encoder; called twice, as two workers would.
    contents : good ones, at least three, some alike and some not.
    tolerance : how far a vector's numbers may differ between two batches.

    Raises
    ------
    AssertionError
        The first promise that the encoder breaks.
    """
    encoder, other = build(), build()
    vectors = encoder.encode(contents)
    _check_form(encoder, vectors, contents)
    _check_identity(encoder, other)
    _check_no_contents(encoder)
    _check_same_content_same_vector(vectors, contents, tolerance)
    for what, order in _orders(len(contents)):
        found = encoder.encode([contents[row] for row in order])
        _check_equal(found, vectors[order], tolerance, f"a vector changes when {what}")
    alone = np.concatenate([encoder.encode([content]) for content in contents])
    _check_equal(alone, vectors, tolerance, "a vector changes when its content comes alone")
    again = other.encode(contents)
    _check_equal(again, vectors, tolerance, "two instances of one encoder disagree")


def check_refusals(encoder: Encoder, good: Content, bad: Sequence[Content]) -> list[str]:
    """Check that each bad content is refused in ``prepare``, and return the reasons.

    Raises
    ------
    AssertionError
        A bad content isn't refused, or takes the good one among them along.
    """
    prepared = encoder.prepare([*bad, good])
    _check(len(prepared) == len(bad) + 1, f"{len(bad) + 1} contents give {len(prepared)} results")
    reasons = [one.reason if isinstance(one, Refusal) else "" for one in prepared]
    for content, reason in zip(bad, reasons, strict=False):
        _check(bool(reason), f"not refused: {_show(content)}")
    _check(not reasons[-1], f"a good content was refused among bad ones: {reasons[-1]}")
    return reasons[:-1]


def _orders(count: int) -> list[tuple[str, list[int]]]:
    rows = list(range(count))
    shuffled = np.random.default_rng(0).permutation(count).tolist()
    return [
        ("contents come in reverse order", rows[::-1]),
        ("contents are shuffled", shuffled),
        ("its neighbours change", rows[::2]),
        ("contents repeat", rows + rows),
    ]


def _check_form(encoder: Encoder, vectors: NDArray[Any], contents: Sequence[Content]) -> None:
    expected = (len(contents), encoder.dim)
    _check(vectors.shape == expected, f"vectors have shape {vectors.shape}, expected {expected}")
    _check(vectors.dtype == np.float32, f"vectors are {vectors.dtype}, expected float32")
    missing = ~np.isfinite(vectors).all(axis=1)
    _check(not missing.any(), f"no vector: {_name(contents, missing)}")
    off = np.abs(np.linalg.norm(vectors, axis=1) - 1) > 1e-3
    _check(not off.any(), f"vectors aren't of length 1: {_name(contents, off)}")


def _check_identity(encoder: Encoder, other: Encoder) -> None:
    _check(bool(encoder.encoder_id.strip()), "encoder_id is empty")
    _check(
        encoder.encoder_id == other.encoder_id,
        f"encoder_id isn't stable: {encoder.encoder_id!r}, then {other.encoder_id!r}",
    )
    until = encoder.trained_until
    _check(until is None or until.tzinfo is not None, f"trained_until has no zone: {until}")


def _check_no_contents(encoder: Encoder) -> None:
    shape = encoder.encode([]).shape
    _check(shape == (0, encoder.dim), f"no texts give shape {shape}, expected (0, {encoder.dim})")


def _check_same_content_same_vector(
    vectors: NDArray[Any], contents: Sequence[Content], tolerance: float
) -> None:
    first = [list(contents).index(content) for content in contents]
    _check_equal(vectors[first], vectors, tolerance, "the same text twice gives two vectors")
    spread = np.ptp(vectors[sorted(set(first))], axis=0).max()
    _check(spread > 1e-3, "all texts get the same vector")


def _check_equal(
    found: NDArray[Any], expected: NDArray[Any], tolerance: float, problem: str
) -> None:
    off = float(np.abs(found - expected).max())
    _check(off <= tolerance, f"{problem}: by {off:.1e}, allowed {tolerance:.1e}")


def _name(contents: Sequence[Content], rows: NDArray[np.bool_]) -> str:
    return ", ".join(_show(one) for one, row in zip(contents, rows, strict=True) if row)


def _show(content: Content) -> str:
    return repr(content[:20] if isinstance(content, str | bytes) else content)


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise AssertionError(problem)
