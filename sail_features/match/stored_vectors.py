"""Fetches stored vectors in compiled code: asks for them ahead, and turns them into float32.

Rows of a large table lie anywhere in memory, and a processor that isn't told in time
waits for each. Processors of the last decade turn float16 into float32 by themselves, in
half the time of `sail_features.float16.half_to_single`; both are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from sail_features.float16 import half_to_single
from sail_features.match.vector_code import FLOAT, INDEX, LANE, emit_intrinsic

LINE_BYTES: Final = 64
"""What a processor fetches at a time."""
LANES: Final = 16
CONVERTS: Final = bool(get_host_cpu_features().get("f16c"))
"""Whether this processor turns float16 into float32; without it LLVM calls a library."""

_BYTE: Final = ir.IntType(8)
_HALVES: Final = ir.VectorType(ir.HalfType(), LANES)
_SINGLES: Final = ir.VectorType(FLOAT, LANES)


def fetch_row(vectors: Any, row: Any, into: Any) -> None:
    """Write one row of a matrix as float32; compiled code only, float16 as its bits."""


@overload(fetch_row)
def _fetch_row_of(vectors: Any, row: Any, into: Any) -> Callable[[Any, Any, Any], None]:
    if vectors.dtype != types.int16:
        return _fetch_singles
    return _fetch_halves if CONVERTS else _fetch_bits


def _fetch_singles(vectors: Any, row: Any, into: Any) -> None:
    for at in range(vectors.shape[1]):
        into[at] = vectors[row, at]


def _fetch_bits(vectors: Any, row: Any, into: Any) -> None:
    for at in range(vectors.shape[1]):
        into[at] = half_to_single(vectors[row, at])


def _fetch_halves(vectors: Any, row: Any, into: Any) -> None:
    dim = vectors.shape[1]
    whole = dim - dim % LANES
    _convert(vectors.ctypes.data + row * vectors.strides[0], whole, into.ctypes.data)
    for at in range(whole, dim):
        into[at] = half_to_single(vectors[row, at])


def _build_convert(
    context: Any, halves: Any, count: Any, out: Any
) -> tuple[Any, Callable[..., Any]]:
    """Write ``count`` float16 numbers, a multiple of `LANES`, as float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        halves, count, out = args
        before = builder.block
        check, loop, after = (builder.append_basic_block(f"convert.{n}") for n in range(3))
        builder.branch(check)
        builder.position_at_end(check)
        at = builder.phi(INDEX)
        at.add_incoming(INDEX(0), before)
        builder.cbranch(builder.icmp_signed("<", at, count), loop, after)
        builder.position_at_end(loop)
        from_, to = (
            builder.inttoptr(builder.add(base, builder.mul(at, INDEX(size))), kind.as_pointer())
            for base, size, kind in ((halves, 2, _HALVES), (out, 4, _SINGLES))
        )
        builder.store(builder.fpext(builder.load(from_, align=2), _SINGLES), to, align=4)
        at.add_incoming(builder.add(at, INDEX(LANES)), loop)
        builder.branch(check)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(halves, count, out), generate


def _build_prefetch_line(context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _BYTE.as_pointer())
        to_read, keep_near, data = LANE(0), LANE(3), LANE(1)
        arguments = [place, to_read, keep_near, data]
        emit_intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), arguments)
        return context.get_dummy_value()

    return types.void(address), generate


_convert: Any = intrinsic(_build_convert)
_prefetch_line: Any = intrinsic(_build_prefetch_line)


@njit(cache=True, nogil=True)
def prefetch_row(vectors: NDArray[Any], row: int) -> None:
    """Ask for one row of a matrix; a row that isn't there does no harm."""
    begin = vectors.ctypes.data + row * vectors.strides[0]
    for at in range(0, vectors.shape[1] * vectors.itemsize, LINE_BYTES):
        _prefetch_line(begin + at)
