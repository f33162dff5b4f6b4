"""The synthetic omni-modal world: what is planted can be found, and only there."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from sail_features.datasets.synthetic_omni import OmniWorldConfig, build_omni_world
from sail_features.embeddings import normalise
from sail_features.schemas import EVENTS, check_table
from sail_features.training.evaluation.pair_recall import ItemPairs, compute_item_recall

WORLD = build_omni_world(OmniWorldConfig(items=600, users=200))
PAIRS = ItemPairs(*WORLD.partners.T)


def recall(vectors):
    return compute_item_recall(vectors.astype(np.float32), PAIRS, (10,))[10]


def test_the_same_seed_gives_the_same_world_and_another_does_not():
    config = OmniWorldConfig(items=600, users=200)
    again, other = build_omni_world(config), build_omni_world(config.model_copy(update={"seed": 1}))
    assert again.events.equals(WORLD.events)
    assert all(
        np.array_equal(again.towers[n], WORLD.towers[n], equal_nan=True) for n in again.towers
    )
    assert not other.events.equals(WORLD.events)


def test_partners_share_content_and_not_taste():
    assert recall(WORLD.content) > 0.95
    assert recall(WORLD.taste) < 0.1


def test_towers_hide_the_content_in_noise_and_lack_a_tenth_of_the_items():
    for vectors in WORLD.towers.values():
        missing = np.isnan(vectors).all(axis=1)
        assert 0.05 < missing.mean() < 0.15
        assert recall(np.nan_to_num(vectors)) < 0.5 * recall(WORLD.content)


def test_users_take_items_by_taste():
    check_table(WORLD.events, EVENTS, where="world")
    item = np.searchsorted(
        WORLD.item_ids, WORLD.events["item_id"].to_numpy(zero_copy_only=False).astype(str)
    )
    user = pc.dictionary_encode(WORLD.events["user_id"].combine_chunks()).indices.to_numpy()
    for latents, least in ((WORLD.taste, 0.3), (WORLD.content, 0.05)):
        means = np.stack([latents[item[user == one]].mean(axis=0) for one in range(200)])
        own = np.einsum("ud,ud->u", normalise(means), means)
        chance = np.linalg.norm(latents[item].mean(axis=0))
        assert own.mean() > chance + least
