"""Dataset-driven pattern matching: every modality pair that a data set declares, at once.

A data set declares patterns, such as a query's picture against a target's text. A step
computes each vector that any pattern asks for once, and sums the contrastive losses of
all patterns over the pairs that have both modalities. So the number of losses is each
pair's own, and a modality that an item lacks is no part of any loss.

References
----------
arXiv 2510.12709, "dataset-driven pattern matching". The paper doesn't say how the losses
are put together: here, the mean over all possible (pair, pattern). That one modality's
vector is a forward pass of its tokens alone is chosen here, too: in the trunk of the whole
item the other modalities would leak into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from sail_features.training.distributed import gather_rows
from sail_features.training.losses.in_context import Nce

FUSED: Final = "fused"
"""The vector of all modalities that a side shows."""
Pattern = tuple[str, str]
"""What of the query is held against what of the target: a modality's name, or `FUSED`."""
OMNI: Final[Pattern] = (FUSED, FUSED)


def pattern_loss(
    queries: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    patterns: Sequence[Pattern],
    valid: Tensor,
    nces: Mapping[Pattern, Nce],
) -> dict[str, Tensor]:
    """Return the mean loss over all possible (pair, pattern), and that of each pattern.

    Parameters
    ----------
    queries, targets : vectors by modality or `FUSED`, shape (B, dim).
    valid : shape (B, patterns), bool.
    nces : how each pattern's vectors are contrasted.
    """
    counts = gather_rows(valid).sum(dim=0).to(torch.float32)
    found = {
        f"{query}-{target}": nces[query, target](queries[query], targets[target], valid[:, place])
        for place, (query, target) in enumerate(patterns)
    }
    mean = (torch.stack(list(found.values())) * counts).sum() / counts.sum().clamp(min=1)
    return {**found, "nce": mean}
