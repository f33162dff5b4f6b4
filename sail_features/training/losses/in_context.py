"""In-context modality losses: each modality's own tokens, after the trunk, must match, too.

Without them a model can lean on one modality and leave the others' tokens empty. The
vectors are read inside the whole item (``OmniOutput.in_context``), so that they know the
other modalities, as NoteLLM-2's do (arXiv 2405.16789, in-context learning).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Nce = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes queries, targets and which pairs are valid."""


def in_context_loss(
    queries: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    both_have: Mapping[str, Tensor],
    nce: Nce,
) -> Tensor:
    """Return the sum of the contrastive losses within each modality.

    arXiv 2510.12709 has vision and text; sound is treated alike, chosen here.

    Parameters
    ----------
    queries, targets : modality to vectors, shape (B, dim).
    both_have : modality to whether both sides of a pair have it, shape (B,).
    """
    shared = [name for name in queries if name in targets]
    return torch.stack([nce(queries[m], targets[m], both_have[m]) for m in shared]).sum()
