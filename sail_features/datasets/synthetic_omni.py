"""A synthetic omni-modal catalogue: planted tower outputs, content pairs, and a log of taste.

What an item is about (its content) and whom it pleases (its taste) are two latent vectors.
Frozen towers are planted, not run: each modality's vector is a fixed random projection of the
content, seen with noise of the modality's own, of a little of the taste, and of much that
tells nothing. So the raw vectors find little, each modality knows a part, and all of them
together know more than any one. Pairs share content; users take items by taste foremost, so
that an encoder trained on pairs alone has thrown away what the log needs.

Cost: a second for 2,000 items and 60,000 events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from sail_features import columns as c
from sail_features.config import Section
from sail_features.datasets.synthetic_items import Floats, Ints, unit
from sail_features.schemas import TIMESTAMP

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
DAYS: Final = 60
CONTENT_DIM: Final = 12
TASTE_DIM: Final = 8
NOISE_DIM: Final = 24
"""Of the latents; chosen here, as are all figures below."""
TOWERS: Final[Mapping[str, tuple[int, float]]] = {
    "audio": (48, 1.1),
    "vision": (64, 0.8),
    "text": (64, 0.6),
}
"""Length of each tower's vector, and the noise that it sees the content with."""

_PARTNER_NOISE: Final = 0.35
_TASTE_SCALE: Final = 1.0
_NOISE_SCALE: Final = 1.6
_TASTE_PULL, _CONTENT_PULL = 15.0, 3.0
_POPULARITY_SPREAD: Final = 0.5
_DAY_US: Final = 86_400_000_000


class OmniWorldConfig(Section):
    """Size and seed of the world; ``missing``: share of items that lack each modality."""

    items: int = Field(default=2_000, ge=20)
    users: int = Field(default=1_500, ge=2)
    events_per_user: int = Field(default=40, ge=4)
    missing: float = Field(default=0.1, ge=0, lt=0.5)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class OmniWorld:
    """The world as training may see it, and the truth behind it.

    Parameters
    ----------
    item_ids : shape (items,), ascending.
    towers : modality to vectors, shape (items, dim); a row of NaN is an item without it.
    partners : shape (pairs, 2), rows of items with nearly the same content; each item is in
        one pair at most.
    events : keeps `sail_features.schemas.EVENTS`.
    content, taste : shape (items, dim), the latents.
    """

    item_ids: NDArray[np.str_]
    towers: Mapping[str, Floats]
    partners: Ints
    events: pa.Table
    content: Floats
    taste: Floats

    def moment(self, share: float) -> datetime:
        """Return the moment at which this share of the log's time is over."""
        return datetime.fromtimestamp(START.timestamp() + share * DAYS * 86_400, UTC)


def build_omni_world(config: OmniWorldConfig | None = None) -> OmniWorld:
    """Draw a world; the same configuration gives the same one.

    Examples
    --------
    >>> build_omni_world(OmniWorldConfig(items=20, users=2)).towers["audio"].shape
    (20, 48)
    """
    config = config or OmniWorldConfig()
    seeds = np.random.SeedSequence(config.seed).spawn(3)
    item, tower, log = (np.random.default_rng(seed) for seed in seeds)
    partners = item.permutation(config.items)[: config.items // 2 * 2].reshape(-1, 2)
    content = unit(item.normal(size=(config.items, CONTENT_DIM)))
    near = _PARTNER_NOISE * unit(item.normal(size=(len(partners), CONTENT_DIM)))
    content[partners[:, 1]] = unit(content[partners[:, 0]] + near)
    taste = unit(item.normal(size=(config.items, TASTE_DIM)))
    ids = np.array([f"i{number:06d}" for number in range(config.items)])
    return OmniWorld(
        ids,
        {name: _see(name, content, taste, config.missing, tower) for name in TOWERS},
        np.sort(partners, axis=1)[np.argsort(partners.min(axis=1))],
        _draw_events(ids, content, taste, config, log),
        content,
        taste,
    )


def _see(
    name: str, content: Floats, taste: Floats, missing: float, rng: np.random.Generator
) -> Floats:
    """Return what a tower makes of all items."""
    dim, noise = TOWERS[name]
    seen = content + noise * unit(rng.normal(size=content.shape))
    other = _NOISE_SCALE * unit(rng.normal(size=(len(content), NOISE_DIM)))
    latent = np.concatenate([seen, _TASTE_SCALE * taste, other], axis=1)
    vectors = unit(latent @ rng.normal(size=(latent.shape[1], dim)))
    vectors[rng.random(len(vectors)) < missing] = np.nan
    return vectors


def _draw_events(
    ids: NDArray[np.str_],
    content: Floats,
    taste: Floats,
    config: OmniWorldConfig,
    rng: np.random.Generator,
) -> pa.Table:
    """Draw each user's items by taste, content and popularity, none twice, at random times."""
    popularity = _POPULARITY_SPREAD * rng.normal(size=len(ids))
    count = min(config.events_per_user, len(ids) // 2)
    users, items = [], []
    for number in range(config.users):
        wish = taste @ unit(rng.normal(size=TASTE_DIM)) * _TASTE_PULL
        about = content @ unit(rng.normal(size=CONTENT_DIM)) * _CONTENT_PULL
        appeal = wish + about + popularity + rng.gumbel(size=len(ids))
        items.append(rng.permutation(np.argpartition(-appeal, count)[:count]))
        users.append(np.full(count, number))
    item, user = np.concatenate(items), np.concatenate(users)
    time_us = np.sort((rng.random((config.users, count)) * DAYS * _DAY_US).astype(np.int64)).ravel()
    start_us = int(START.timestamp()) * 1_000_000
    table = pa.table(
        {
            c.USER_ID: [f"u{one:05d}" for one in user],
            c.ITEM_ID: ids[item],
            c.EVENT_TIMESTAMP: pa.array(time_us + start_us).cast(TIMESTAMP),
            c.EVENT_TYPE: pa.repeat("view", len(item)),
            c.WEIGHT: pa.repeat(pa.scalar(1.0, pa.float32()), len(item)),
        }
    )
    return table.sort_by(c.EVENT_TIMESTAMP)
