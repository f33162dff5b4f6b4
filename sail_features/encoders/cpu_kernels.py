"""Linear layers and attention by oneDNN, packed once: what makes torch fast on any CPU.

torch multiplies float32 matrices with MKL, which on AMD leaves AVX-512 unused: 102
GFLOP/s a core here, and 240 by oneDNN, which is in torch too. Swapping the linear
layers of a model for packed ones more than doubles its speed at the same precision,
for texts, images and sounds alike.

In bf16 only linear layers and attention are; what is added up from layer to layer and
its normalisation stay in float32. That costs nothing measurable and halves the error
of bf16 weights alone (cosine to float32 at least .99995 against .99990).
"""

from __future__ import annotations

from typing import Any, Final

ATTENTION: Final = "sail_matmul"
PACKED_ROWS: Final = 2048
"""Rows that oneDNN is told to expect; it takes any other number as well."""


def pack_linears(model: Any, dtype: Any) -> Any:
    """Swap a model's linear layers for packed ones that compute in ``dtype``; in place.

    Where torch has no oneDNN, or no bf16 in it for this CPU, torch's own linear
    function takes over, slower and with the same result.
    """
    import torch

    # Only models that attend by SDPA take queries and keys in another dtype than the rest.
    stays = model.config._attn_implementation == "sdpa"
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear:
                setattr(parent, name, _packed_linear(child, dtype, stays=stays))
    if stays and dtype == torch.bfloat16:
        _set_attention(model)
    return model


def _packed_linear(linear: Any, dtype: Any, *, stays: bool) -> Any:
    """Return a frozen linear layer; its output stays in ``dtype``, or is as its input."""
    import torch

    ops = torch.ops.mkldnn
    weight = linear.weight.detach().to(dtype)
    bias = None if linear.bias is None else linear.bias.detach().to(dtype)
    packs = has_onednn(dtype)
    if packs:
        weight = ops._reorder_linear_weight(weight, PACKED_ROWS)

    class PackedLinear(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        in_features, out_features = linear.in_features, linear.out_features

        def __init__(self) -> None:
            super().__init__()
            # Some models ask a layer for its weight's dtype; the weight itself is above.
            self.register_buffer("weight", torch.empty(0, dtype=dtype), persistent=False)

        def forward(self, rows: Any) -> Any:
            own = rows.dtype
            rows = rows.to(dtype)
            if packs:
                found = ops._linear_pointwise(rows, weight, bias, "none", [], "")
            else:
                found = torch.nn.functional.linear(rows, weight, bias)
            return found if stays else found.to(own)

    return PackedLinear()


def has_onednn(dtype: Any) -> bool:
    """Return whether torch has oneDNN here, and in it products of this dtype."""
    import torch

    if not (
        torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return False
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _set_attention(model: Any) -> None:
    """Let the model attend by two plain products: in bf16 faster than torch's fused kernel."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any
) -> tuple[Any, None]:
    """Attend as ``sdpa`` does; shapes (batch, heads, tokens, head size).

    Causal models, and those whose heads share keys, are left to SDPA itself.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    is_causal = settings.get("is_causal")
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    is_mask = attention_mask is None or attention_mask.dtype == torch.bool
    if is_causal or not is_mask or key.shape[1] != query.shape[1]:
        mixed, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return mixed, None
    scaling = settings.get("scaling") or query.shape[-1] ** -0.5
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    if attention_mask is not None:
        scores.masked_fill_(~attention_mask, float("-inf"))
    mixed = torch.matmul(scores.softmax(-1), value)
    return mixed.transpose(1, 2).contiguous(), None
