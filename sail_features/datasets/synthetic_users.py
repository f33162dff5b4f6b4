"""The users of the synthetic world: a few interests each, which drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sail_features.datasets.synthetic_items import Floats, Ints, unit

INTERESTS: Final = 3
"""Interests a user has at any time; chosen here, as are the figures below."""

_DRIFT_DAYS: Final = 7.0
_BIAS_SPREAD: Final = 0.5
_ACTIVITY_SPREAD: Final = 1.0
_BLOCK_ROWS: Final = 65_536
"""Rows that a match is computed for at once: 50 MB."""


@dataclass(frozen=True)
class SyntheticUsers:
    """Users as arrays of the same length.

    Parameters
    ----------
    before, after : (users, `INTERESTS`) sub-topic that each interest is about before
        and after it drifts.
    drift_days : (users, `INTERESTS`) when an interest begins to drift, in days since
        the log's start; half of them lie after its end. It takes a week.
    centres : (sub-topics, dim) latent vectors of the sub-topics.
    activity : share of the requests; sums to 1.
    bias : what the user's clicking differs by, in logits.
    """

    before: Ints
    after: Ints
    drift_days: Floats
    centres: Floats
    activity: Floats
    bias: Floats

    @property
    def ids(self) -> list[str]:
        """User ids, ``u00000`` and so on."""
        return [f"u{number:05d}" for number in range(len(self.bias))]

    def interests_at(self, users: Ints, days: Floats) -> Floats:
        """Return (rows, `INTERESTS`, dim) unit vectors of users at times in days."""
        drifted = np.clip((days[:, None] - self.drift_days[users]) / _DRIFT_DAYS, 0, 1)[..., None]
        old, new = self.centres[self.before[users]], self.centres[self.after[users]]
        return unit((1 - drifted) * old + drifted * new)

    def match(self, users: Ints, days: Floats, latents: Floats) -> Floats:
        """Return each row's greatest cosine of an interest to the row's item latent."""
        blocks = range(0, len(users), _BLOCK_ROWS)
        parts = [
            np.einsum(
                "rid,rd->ri",
                self.interests_at(users[at : at + _BLOCK_ROWS], days[at : at + _BLOCK_ROWS]),
                latents[at : at + _BLOCK_ROWS],
            ).max(axis=1)
            for at in blocks
        ]
        return np.concatenate(parts)


def draw_users(
    count: int, days: float, centres: Floats, rng: np.random.Generator
) -> SyntheticUsers:
    """Draw ``count`` users of a log of ``days``."""
    subtopics = np.argsort(rng.random((count, len(centres))), axis=1)[:, : 2 * INTERESTS]
    activity = rng.lognormal(0.0, _ACTIVITY_SPREAD, size=count)
    return SyntheticUsers(
        before=subtopics[:, :INTERESTS],
        after=subtopics[:, INTERESTS:],
        drift_days=rng.random((count, INTERESTS)) * 2 * days,
        centres=centres,
        activity=activity / activity.sum(),
        bias=rng.normal(0.0, _BIAS_SPREAD, size=count),
    )
