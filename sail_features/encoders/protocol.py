"""What every encoder offers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class TextEncoder(Protocol):
    """Turns texts into unit vectors, each independent of the others.

    The vector of a text must not depend on what else is encoded with it, or in
    what order (`sail_features.testing.encoder_suite` checks it).
    """

    @property
    def encoder_id(self) -> str:
        """Changes with everything that changes a vector: weights, pooling, length, dtype."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def trained_until(self) -> datetime | None:
        """Latest interaction that it was trained on; None where it saw none of this log."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), dim), rows of length 1, in the order given."""
