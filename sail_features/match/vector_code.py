"""Pieces of vector code, emitted in LLVM's language, that numba can't promise to compile to.

What `sail_features.match.tile`, `top` and `sums` are put together from. A vector's width
is ours, whatever the processor's: LLVM splits it where registers are shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llvmlite import ir

INDEX: Final = ir.IntType(64)
LANE: Final = ir.IntType(32)
FLOAT: Final = ir.FloatType()


def emit_intrinsic(
    builder: Any, name: str, result: Any, arguments: Sequence[Any], flags: Sequence[str] = ()
) -> Any:
    """Emit a call of one of LLVM's own functions, such as ``llvm.fma.v8f32``."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments, fastmath=flags)


def emit_load(
    builder: Any, address: Any, lanes: int, left: Any | None = None, missing: float = 0.0
) -> Any:
    """Emit a load of ``lanes`` float32 numbers, of which only the first ``left`` may exist.

    Memory behind those isn't touched; the other lanes are ``missing``. None: all exist.
    """
    vector, numbers = ir.VectorType(FLOAT, lanes), ir.VectorType(LANE, lanes)
    place = builder.inttoptr(address, vector.as_pointer())
    if left is None:
        return builder.load(place, align=4)
    left = builder.select(builder.icmp_signed("<", left, INDEX(lanes)), left, INDEX(lanes))
    left = builder.insert_element(numbers(ir.Undefined), builder.trunc(left, LANE), LANE(0))
    left = builder.shuffle_vector(left, left, numbers([0] * lanes))
    exists = builder.icmp_signed("<", numbers(list(range(lanes))), left)
    arguments = [place, LANE(4), exists, vector([missing] * lanes)]
    return emit_intrinsic(builder, f"llvm.masked.load.v{lanes}f32.p0", vector, arguments)


def emit_total(builder: Any, value: Any) -> Any:
    """Emit the sum of a vector's lanes: upper half onto lower half until one is left."""
    lanes = value.type.count
    while lanes > 1:
        lanes //= 2
        halves = [
            builder.shuffle_vector(
                value,
                ir.Constant(value.type, ir.Undefined),
                ir.VectorType(LANE, lanes)(list(range(low, low + lanes))),
            )
            for low in (0, lanes)
        ]
        value = builder.fadd(*halves)
    return builder.extract_element(value, LANE(0))
