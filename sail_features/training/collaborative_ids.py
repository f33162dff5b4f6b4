"""Collaborative ID embeddings: one vector an item, made of who engaged with it and no content.

They are the teachers of `id_to_item`: several an item, of different families (`als`, `bpr`
and `ppmi`) or seeds. Each is an `EmbeddingTable` whose ``encoder_id`` names how it was made
and whose ``available_at_us`` is the moment it was trained until, so that it is saved, loaded
and compared like any other. Vectors are brought to length 1: what is left out is the length,
which in a factorisation mostly says how popular an item is.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 5.2): several ID embeddings an item
from the online recommender. An offline library has none, so it trains them: chosen here, as
are the families and the least support of a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sail_features.config import Section
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.errors import InputError, LeakageError
from sail_features.history import times_of, to_us
from sail_features.manifest import sha256_of
from sail_features.training.collaborative_als import factorise_als
from sail_features.training.collaborative_bpr import factorise_bpr
from sail_features.training.collaborative_ppmi import factorise_ppmi
from sail_features.training.engagements import Engagements

FACTORISE: Final[Mapping[str, Callable[[Engagements, int, int], NDArray[np.float32]]]] = {
    "als": factorise_als,
    "bpr": factorise_bpr,
    "ppmi": factorise_ppmi,
}


class IdSettings(Section):
    """How one ID embedding is made; the figures are chosen here.

    ``min_support``: an item with fewer users has no vector, as chance would be its teacher.
    """

    family: Literal["als", "bpr", "ppmi"] = "als"
    dim: int = Field(default=64, ge=2, le=1024)
    min_support: int = Field(default=5, ge=1)
    seed: int = Field(default=0, ge=0)


def train_ids(engagements: Engagements, settings: IdSettings) -> EmbeddingTable:
    """Return one unit vector for each item with the support asked for.

    Raises
    ------
    InputError
        So few items have it that the vectors could be anything.
    """
    supported = np.flatnonzero(engagements.support >= settings.min_support)
    if len(supported) <= settings.dim:
        raise InputError.say(
            f"collaborative IDs {settings.family}",
            f"{len(supported)} items have {settings.min_support} users or more, too few for "
            f"vectors of {settings.dim}",
            hint="lower min_support or dim, or give a later trained_until",
        )
    vectors = normalise(FACTORISE[settings.family](engagements, settings.dim, settings.seed))
    kept = supported[np.isfinite(vectors[supported, 0])]
    return EmbeddingTable(
        engagements.item_ids[kept],
        vectors[kept],
        f"{settings.family}-{sha256_of([settings.model_dump(), engagements.digest])[:12]}",
        np.full(len(kept), to_us(engagements.trained_until), np.int64),
    )


def check_trained_before(teachers: Sequence[EmbeddingTable], trained_until: datetime) -> None:
    """Check that no teacher knows more than the encoder that it teaches may.

    Raises
    ------
    LeakageError
        One was trained on interactions at or after ``trained_until``.
    """
    for teacher in teachers:
        latest = teacher.available_at_us.max(keepdims=True)
        if len(teacher) and latest[0] > to_us(trained_until):
            raise LeakageError.say(
                f"ID table {teacher.encoder_id}",
                f"was trained on interactions until {times_of(latest)[0]}, after the encoder's "
                f"trained_until {trained_until}",
                hint="train the IDs on earlier events, or give the encoder a later trained_until",
            )
