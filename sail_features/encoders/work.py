"""How much arithmetic an encoder does, and how much its device could: for one ratio.

The share of the matrix-product peak says how far a run was from the machine's limit,
whatever the model. Both sides are measured where the run computes.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.cpu_kernels import has_onednn
from sail_features.encoders.devices import Placement
from sail_features.encoders.protocol import Prepared

Batch: TypeAlias = Sequence[Prepared]
Vectors: TypeAlias = NDArray[np.float32]
ROUNDS: Final = 5
CPU_SHAPE: Final = (2048, 384, 1536)
"""Rows, inner and outer size: an encoder's, small enough for a CPU's cache."""
GPU_SHAPE: Final = (8192, 8192, 8192)


class FlopMeter:
    """Counts the operations of the first batch that succeeds, and knows them from then on.

    ``flops_per_token``: floating-point operations of a padded token, a multiply-add as
    two; 0 where nothing can be counted: an encoder without torch, or another backend.
    """

    def __init__(self) -> None:
        self.flops_per_token = 0.0
        self._has_counted = False

    def run(self, forward: Callable[[Batch], Vectors], batch: Batch, tokens: int) -> Vectors:
        """Return ``forward(batch)``, a batch of that many padded tokens."""
        if self._has_counted or "torch" not in sys.modules:
            return forward(batch)
        with _flop_counter() as counter:
            found = forward(batch)
        self.flops_per_token = counter.get_total_flops() / max(1, tokens)
        self._has_counted = True
        return found


def _flop_counter() -> Any:
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def linear(rows: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        # A packed weight doesn't tell its shape; the result's does.
        return 2 * int(math.prod(rows)) * int(out_shape[-1])

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    ops = torch.ops
    formulas: dict[Any, Callable[..., int]] = {
        ops.aten._scaled_dot_product_flash_attention_for_cpu: attention
    }
    if hasattr(ops.mkldnn, "_linear_pointwise"):
        formulas[ops.mkldnn._linear_pointwise] = linear
    return FlopCounterMode(display=False, custom_mapping=formulas)


def matmul_peak(placement: Placement) -> float:
    """Return the best rate of a plain matrix product on the device, in FLOP/s.

    On a CPU the faster of torch's own linear layer and oneDNN's, with the process's
    threads. Takes a tenth of a second, and half a second on a GPU.
    """
    import torch

    dtype = getattr(torch, placement.dtype)
    rows, inner, outer = GPU_SHAPE if placement.device.startswith("cuda") else CPU_SHAPE
    left = torch.randn(rows, inner, device=placement.device).to(dtype)
    weight = torch.randn(outer, inner, device=placement.device).to(dtype)
    ways: list[Callable[[], Any]] = [lambda: torch.nn.functional.linear(left, weight)]
    if placement.device == "cpu" and has_onednn(dtype):
        ops = torch.ops.mkldnn
        packed = ops._reorder_linear_weight(weight, rows)
        ways.append(lambda: ops._linear_pointwise(left, packed, None, "none", [], ""))
    with torch.inference_mode():
        seconds = min(_seconds_of(way, placement.device) for way in ways)
    return 2 * rows * inner * outer / seconds


def _seconds_of(multiply: Callable[[], Any], device: str) -> float:
    """Return the shortest of several measurements."""
    import torch

    def once() -> float:
        begin = time.perf_counter()
        multiply()
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    once()
    return min(once() for _ in range(ROUNDS))
