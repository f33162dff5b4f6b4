"""What every encoder offers, whatever it reads: three steps that the pipeline drives.

``prepare`` is work of the CPU (tokenise, decode, resample) and can run in a thread
while ``forward`` keeps the device busy with what was prepared before. A content that
can't be encoded is refused with a reason; it never raises, so that one broken file
can't fail the task of a million others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Content: TypeAlias = Any
"""A text; or a file as path or bytes; or several such files, the frames of a video."""
Prepared: TypeAlias = Any
"""What an encoder's ``prepare`` hands to its own ``forward``; nobody else looks inside."""


@dataclass(frozen=True)
class Refusal:
    """Why a content has no vector, in words that are the same for all rows alike."""

    reason: str


class Encoder(Protocol):
    """Turns contents into unit vectors, each independent of the others.

    The vector of a content must not depend on what else is encoded with it, or in
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

    @property
    def device(self) -> str:
        """Where ``forward`` computes, ``cpu`` or ``cuda:N``."""

    @property
    def window_rows(self) -> int:
        """How many prepared contents may wait in memory: many texts, few images."""

    def load(self) -> None:
        """Read the weights, if that isn't done yet; errors are the model's, not a row's."""

    def prepare(self, contents: Sequence[Content]) -> list[Prepared | Refusal]:
        """Return for each content what ``forward`` needs, or why there is no vector."""

    def cost(self, prepared: Prepared) -> int:
        """Return its work in tokens; a batch is padded to its costliest row."""

    def forward(self, batch: Sequence[Prepared]) -> NDArray[np.float32]:
        """Return shape (len(batch), dim), of any length; the pipeline normalises."""

    def encode(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """Return shape (len(contents), dim), rows of length 1, in the order given.

        Raises
        ------
        InputError
            A content was refused; `pipeline.encode_contents` reports it instead.
        """
