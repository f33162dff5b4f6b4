"""Bayesian personalised ranking: what a user engaged with lies before what she did not.

References
----------
Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian personalized ranking from
implicit feedback" (UAI 2009), sections 4 and 5. Mini-batches with Adam, one uniform negative
an event, and the figures below: chosen here. An item's bias takes up its popularity, so that
its vector, which alone is kept, need not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sail_features.training.engagements import Engagements

EPOCHS: Final = 30
BATCH: Final = 4_096
LEARNING_RATE: Final = 0.01
DECAY: Final = 1e-5


def factorise_bpr(engagements: Engagements, dim: int, seed: int) -> NDArray[np.float32]:
    """Return one vector an item, shape (items, dim); chance ones for items without an event.

    Notes
    -----
    A negative is any item of the catalogue that the user didn't engage with; one in
    thousands that is met by chance in two draws is left as it is. Time: 30 epochs of some
    10 us an event on one core.
    """
    rng, chance = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model = _Factors(engagements.users, engagements.items, dim, chance)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    pairs = np.unique(engagements.user * engagements.items + engagements.item)
    for _ in range(EPOCHS):
        order = rng.permutation(len(pairs))
        for start in range(0, len(pairs), BATCH):
            user, liked = np.divmod(pairs[order[start : start + BATCH]], engagements.items)
            other = _draw_others(user, pairs, engagements.items, rng)
            loss = model.loss(*(torch.from_numpy(rows) for rows in (user, liked, other)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    vectors: NDArray[np.float32] = model.item.weight.detach().numpy()
    return vectors


class _Factors(nn.Module):  # type: ignore[misc]  # torch has no types here
    def __init__(self, users: int, items: int, dim: int, chance: torch.Generator) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.bias = nn.Parameter(torch.zeros(items))
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1, generator=chance)

    def loss(self, user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
        gap = (self.user(user) * (self.item(liked) - self.item(other))).sum(dim=1)
        return -nn.functional.logsigmoid(gap + self.bias[liked] - self.bias[other]).mean()


def _draw_others(
    user: NDArray[np.int64], pairs: NDArray[np.int64], items: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return an item for each user, drawn once more where the user engaged with it."""
    other = rng.integers(items, size=len(user))
    place = np.minimum(np.searchsorted(pairs, user * items + other), len(pairs) - 1)
    met = pairs[place] == user * items + other
    return np.where(met, rng.integers(items, size=len(user)), other)
