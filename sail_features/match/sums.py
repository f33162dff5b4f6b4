"""Sums over a run of numbers, eight lanes at a time, with the same bits on every processor.

A plain loop adds one number after the other and waits for each; a compiler that may
reorder it takes as many lanes as the processor at hand has. Here lane i of eight adds
the numbers i, i + 8, i + 16 and so on in double precision, and the lanes are joined in a
fixed order. Four times as fast as the plain loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from sail_features.match.block import Floats
from sail_features.match.vector_code import INDEX, emit_intrinsic, emit_load, emit_total

LANES: Final = 8
_DOUBLES: Final = ir.VectorType(ir.DoubleType(), LANES)


def _emit_run(builder: Any, count: Any, add: Callable[[Any, Any, Any], Any]) -> Any:
    """Emit a loop over ``count`` numbers, eight at a time, then what is left.

    ``add`` emits the new sums of (sums, place, numbers left); None are left for eight.
    """
    before = builder.block
    check, loop, after = (builder.append_basic_block(f"sum.{n}") for n in range(3))
    builder.branch(check)
    builder.position_at_end(check)
    at, sums = builder.phi(INDEX), builder.phi(_DOUBLES)
    at.add_incoming(INDEX(0), before)
    sums.add_incoming(_DOUBLES([0.0] * LANES), before)
    following = builder.add(at, INDEX(LANES))
    builder.cbranch(builder.icmp_signed("<=", following, count), loop, after)
    builder.position_at_end(loop)
    sums.add_incoming(add(sums, at, None), loop)
    at.add_incoming(following, loop)
    builder.branch(check)
    builder.position_at_end(after)
    return emit_total(builder, add(sums, at, builder.sub(count, at)))


def _emit_doubles(builder: Any, base: Any, at: Any, left: Any) -> Any:
    """Emit the eight numbers from place ``at`` on, 0 behind those that are ``left``."""
    address = builder.add(base, builder.mul(at, INDEX(4)))
    return builder.fpext(emit_load(builder, address, LANES, left), _DOUBLES)


def _build_sum(context: Any, values: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, count = args

        def add(sums: Any, at: Any, left: Any) -> Any:
            return builder.fadd(sums, _emit_doubles(builder, values, at, left))

        return _emit_run(builder, count, add)

    return types.float64(types.int64, types.int64), generate


def _build_dot(
    context: Any, values: Any, weights: Any, count: Any
) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        *runs, count = args

        def add(sums: Any, at: Any, left: Any) -> Any:
            pair = [_emit_doubles(builder, run, at, left) for run in runs]
            return emit_intrinsic(builder, f"llvm.fma.v{LANES}f64", _DOUBLES, [*pair, sums])

        return _emit_run(builder, count, add)

    return types.float64(types.int64, types.int64, types.int64), generate


_sum: Any = intrinsic(_build_sum)
_dot: Any = intrinsic(_build_dot)


@njit(cache=True, nogil=True)
def sum_of(values: Floats) -> float:
    """Return the sum of a run of float32 numbers."""
    total: float = _sum(values.ctypes.data, len(values))
    return total


@njit(cache=True, nogil=True)
def dot_of(values: Floats, weights: Floats) -> float:
    """Return the sum of products of two runs of equal length."""
    total: float = _dot(values.ctypes.data, weights.ctypes.data, len(values))
    return total


@njit(cache=True, nogil=True)
def mean_of(values: Floats) -> float:
    """Return the mean of a run, NaN where it is empty."""
    return sum_of(values) / len(values) if len(values) else np.nan
