"""Two readings of an item side by side: one that content trains, one that behaviour trains.

A vector that content pairs have trained has thrown away what behaviour needs, and wins it
back only at the content's expense (measured: `ranking_eval/EXPERIMENTS.md`). So behaviour
may have a small part of its own behind the same frozen towers:

    z = [sqrt(1 - share) * unit(content); sqrt(share) * unit(behaviour)]

The cosine of two items is then (1 - share) of their cosine by content and share of that by
behaviour. The paper trains one vector for both (arXiv 2510.12709); this is chosen here,
see decision 0022.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sail_features.encoders.omni.backbone import Backbone
from sail_features.encoders.omni.batch import OmniBatch
from sail_features.encoders.omni.model import OmniModel, OmniOutput
from sail_features.encoders.omni.settings import OmniSettings, Part
from sail_features.errors import ModelError


class JointModel(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A model for content and one for behaviour, each trained as a model of its own.

    Until `join` is called the vector is the content's alone, with zeros behind it.

    Parameters
    ----------
    settings : with a ``behaviour`` part.
    content : where it is made already; None makes it of ``settings``.

    Raises
    ------
    ModelError
        Nothing is encoded by a tower, or see `OmniModel`.
    """

    def __init__(self, settings: OmniSettings, *, content: OmniModel | None = None) -> None:
        super().__init__()
        if settings.behaviour is None or not settings.towers:
            raise ModelError.say(
                "behaviour part",
                "the model has no tower for it to read",
                hint="give the model towers, or leave out its behaviour",
            )
        self.settings = settings
        self.content = content or OmniModel(settings.of_content())
        self.behaviour = OmniModel(settings.of_behaviour())
        self.register_buffer("share", torch.zeros(()))

    def join(self) -> None:
        """Let behaviour have its share of the vector from now on."""
        if self.settings.behaviour is not None:
            self.share.fill_(self.settings.behaviour.share)

    def forward(self, batch: OmniBatch) -> OmniOutput:
        """Return the joint vectors of a batch, and the content's own of each modality."""
        content: OmniOutput = self.content(batch)
        sizes = (1 - self.share).sqrt(), self.share.sqrt()
        both = normalize(content.fused, dim=1), normalize(self._read_behaviour(batch), dim=1)
        joint = torch.cat([size * part for size, part in zip(sizes, both, strict=True)], dim=1)
        return replace(content, fused=joint)

    def _read_behaviour(self, batch: OmniBatch) -> Tensor:
        """Return what the towers tell of behaviour: zeros of an item that no tower read."""
        if not batch.features:
            return torch.zeros(len(batch), self.behaviour.settings.hidden, device=batch.device)
        towers = replace(batch, text_ids=None, text_mask=None, prompt=None)
        found: Tensor = self.behaviour(towers).fused
        return found

    def recompute(self, on: bool = True) -> None:
        """See `OmniModel.recompute`."""
        self.content.recompute(on)
        self.behaviour.recompute(on)

    def count_parameters(self) -> dict[str, int]:
        """Return the number of weights of each part of the content's model, and of behaviour's."""
        content, behaviour = (m.count_parameters() for m in (self.content, self.behaviour))
        total = content.pop("total") + behaviour["total"]
        return {**content, "behaviour": behaviour["total"], "total": total}


AnyModel: TypeAlias = OmniModel | JointModel
"""What is saved, measured and served."""


def build_omni(settings: OmniSettings, *, backbone: Backbone | None = None) -> AnyModel:
    """Return an untrained model of these settings (seed torch first); see `OmniModel`."""
    content = OmniModel(settings.of_content(), backbone=backbone)
    return content if settings.behaviour is None else JointModel(settings, content=content)


def part_model(model: AnyModel, part: Part) -> OmniModel:
    """Return the model that content trains, or the one that behaviour trains.

    Raises
    ------
    ModelError
        The model has no behaviour part.
    """
    if isinstance(model, JointModel):
        return model.content if part == "content" else model.behaviour
    if part == "behaviour":
        raise ModelError.say(
            "model",
            "has no behaviour part, which a stage with `part: behaviour` trains",
            hint="set model.settings.behaviour (such as {hidden: 32}), or let the stage "
            "train the whole vector (part: content)",
        )
    return model
