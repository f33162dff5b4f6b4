"""What one step of the model reads: the tokens of some items, with what is missing masked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sail_features.encoders.omni.settings import MODALITIES, TEXT


@dataclass(frozen=True)
class Prompt:
    """Token ids around the content, the same for a whole batch; see `prompts`.

    ``before`` and ``after``: shapes (P,) and (S,), either of which may be empty.
    """

    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class OmniBatch:
    """B items.

    Parameters
    ----------
    features : modality to the outputs of its tower, shape (B, n, d), float32.
    mask : modality to which of them are there, shape (B, n); a row without any is an item
        that lacks the modality.
    text_ids, text_mask : token ids of the text, shape (B, T), and which of them are there;
        None where no text is read token by token.
    prompt : of models that read text tokens.
    """

    features: dict[str, Tensor]
    mask: dict[str, Tensor]
    text_ids: Tensor | None = None
    text_mask: Tensor | None = None
    prompt: Prompt | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._any)

    @property
    def device(self) -> torch.device:
        """Where the batch lies."""
        return self._any.device

    @property
    def _any(self) -> Tensor:
        return self.text_ids if self.text_ids is not None else next(iter(self.features.values()))

    @property
    def modalities(self) -> tuple[str, ...]:
        """What any item of the batch may have, in the order of the trunk."""
        found = set(self.features) | ({TEXT} if self.text_ids is not None else set())
        return tuple(name for name in MODALITIES if name in found)

    def keep(self, modalities: Collection[str]) -> OmniBatch:
        """Return the batch with all other modalities hidden; the prompt stays."""
        kept = {name: value for name, value in self.features.items() if name in modalities}
        has_text = TEXT in modalities and self.text_ids is not None
        if not kept and not has_text:
            return self._hide_all()
        return replace(
            self,
            features=kept,
            mask={name: self.mask[name] for name in kept},
            text_ids=self.text_ids if has_text else None,
            text_mask=self.text_mask if has_text else None,
        )

    def _hide_all(self) -> OmniBatch:
        mask = {name: torch.zeros_like(there) for name, there in self.mask.items()}
        there = self.text_mask
        return replace(self, mask=mask, text_mask=None if there is None else there & False)

    def has(self, modality: str) -> Tensor:
        """Return which items have the modality, shape (B,), bool."""
        masks = [self.mask[modality]] if modality in self.mask else []
        if modality == TEXT and self.text_mask is not None:
            masks.append(self.text_mask)
        if not masks:
            return torch.zeros(len(self), dtype=torch.bool, device=self.device)
        return torch.cat(masks, dim=1).any(dim=1)

    def to(self, device: str | torch.device) -> OmniBatch:
        """Return the batch on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        prompt = self.prompt and Prompt(move(self.prompt.before), move(self.prompt.after))
        return OmniBatch(
            {name: move(value) for name, value in self.features.items()},
            {name: move(value) for name, value in self.mask.items()},
            move(self.text_ids),
            move(self.text_mask),
            prompt,
        )
