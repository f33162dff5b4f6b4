"""Which texts can be encoded at all; one rule for every text encoder."""

from __future__ import annotations

from typing import Any, Final

from sail_features.encoders.protocol import Refusal

MAX_CHARACTERS: Final = 1_000_000
"""Far beyond any model's length, and still tokenised in under a second."""


def refuse_text(text: Any) -> Refusal | None:
    """Return why a text can't be encoded, or None where it can.

    Examples
    --------
    >>> refuse_text("red wine")
    >>> refuse_text("  ")
    Refusal(reason='no text')
    """
    if not isinstance(text, str) or not text.strip():
        return Refusal("no text")
    if len(text) > MAX_CHARACTERS:
        return Refusal(f"text longer than {MAX_CHARACTERS} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        return Refusal("text is not valid Unicode")
    return None
