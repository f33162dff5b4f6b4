"""Tells a lack of memory and a lost device from a row that can't be encoded."""

from __future__ import annotations

from typing import Final

OUT_OF_MEMORY: Final = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "defaultcpuallocator",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn_status_not_supported",
    "nvml_success == r internal assert",
)
"""What torch says, in lower case; the last is what it says on a MIG slice
(huggingface/accelerate#3803)."""
DEVICE_LOST: Final = (
    "device-side assert",
    "illegal memory access",
    "unspecified launch failure",
    "uncorrectable ecc",
    "device is lost",
    "cuda driver error",
    "misaligned address",
)
"""After these every later call of the process fails too: only a new process helps."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the batch didn't fit in memory.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    True
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _says(error, OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Tell whether the device can't be used any more by this process."""
    if is_out_of_memory(error):
        return False
    return isinstance(error, RuntimeError) and _says(error, DEVICE_LOST)


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    said = str(error).lower()
    return any(text in said for text in texts)
