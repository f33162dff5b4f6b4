"""Where and in which numbers an encoder computes, each with its reason.

The dtype is part of an encoder's id, so it must not depend on the machine that happens
to run a task: `resolve_encoder_config` decides it once, on the driver, and every worker
gets the explicit setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sail_features.config import EncoderConfig
from sail_features.errors import ConfigError

BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""CPU flags of bf16 instructions: AMD and Intel since Zen 4 and Cooper Lake, and Arm."""


@dataclass(frozen=True)
class Placement:
    """A device, a dtype and a number of threads, and why each was chosen.

    ``threads`` None leaves torch's own choice.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)


ON_CPU: Final = Placement()
"""One process on the CPU in float32, exact on every machine."""


def place(
    config: EncoderConfig, *, device: str | None = None, threads: int | None = None
) -> Placement:
    """Return where this process computes.

    Parameters
    ----------
    config : says the dtype; ``auto`` is resolved for the device.
    device : the GPU that the scheduler assigned, ``cuda:N``; None computes on the CPU.
    threads : of this process; None leaves torch's own choice.

    Raises
    ------
    ConfigError
        The device isn't there.
    """
    chosen = device or "cpu"
    _check_device(chosen)
    dtype, why_dtype = choose_dtype(config, chosen)
    why_device = "assigned by the scheduler" if device else "no GPU was assigned to this process"
    why_threads = "as configured" if threads else "torch's own choice"
    reasons = {"device": why_device, "dtype": why_dtype, "threads": why_threads}
    return Placement(chosen, dtype, threads, reasons)


def resolve_encoder_config(
    config: EncoderConfig, *, device: str = "cpu"
) -> tuple[EncoderConfig, str]:
    """Return the configuration without ``auto``, and the reason of its dtype.

    Call it once, on the driver, with the kind of device that workers will have; a
    ``cuda`` that the driver itself lacks is taken to have bf16, as all have since 2020.
    """
    dtype, reason = choose_dtype(config, device)
    return config.model_copy(update={"dtype": dtype}), reason


def choose_dtype(config: EncoderConfig, device: str) -> tuple[str, str]:
    """Return ``float32`` or ``bfloat16`` for a device, and why."""
    if config.kind == "hash":
        return "float32", "the hash encoder has one dtype"
    if config.dtype != "auto":
        return config.dtype, "set by encoder.dtype"
    has, reason = has_bf16(device)
    return ("bfloat16" if has else "float32"), reason


def has_bf16(device: str) -> tuple[bool, str]:
    """Return whether a device computes in bf16 natively, and how we know."""
    if device.startswith("cuda"):
        return _gpu_has_bf16()
    found = sorted(BF16_FLAGS & _cpu_flags())
    if found:
        return True, f"this CPU has {', '.join(found)}"
    return False, "this CPU has no bf16 instructions"


def _gpu_has_bf16() -> tuple[bool, str]:
    import torch

    if not torch.cuda.is_available():
        return True, "no GPU here to ask; those since 2020 have bf16"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return True, "this GPU has bf16"
    return False, "this GPU has no bf16"


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def _check_device(device: str) -> None:
    if not device.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise ConfigError.say(
            "encoder device",
            f"{device} was assigned, but this process sees {count} GPUs",
            hint=f"check CUDA_VISIBLE_DEVICES ({os.environ.get('CUDA_VISIBLE_DEVICES')!r}) "
            "and the GPU discovery script",
        )
