"""The highest numbers of a run, in descending order, without a branch.

Sixteen numbers stay sorted in a vector register: a new one goes to its place while all
below it move by one, which is a minimum and a maximum. Sorting networks do the same; an
insertion that branches is five times slower here, since nothing predicts it. Written in
LLVM's language, because numba would keep the sixteen in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

TOP: Final = 16
"""How many of the highest numbers are kept."""

_INDEX: Final = ir.IntType(64)
_FLOAT: Final = ir.FloatType()
_VECTOR: Final = ir.VectorType(_FLOAT, TOP)
_LANES: Final = ir.VectorType(ir.IntType(32), TOP)


def _keep_top(context: Any, values: Any, count: Any, out: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, count, out = args
        values = builder.inttoptr(values, _FLOAT.as_pointer())
        before = builder.block
        check, loop, after = (builder.append_basic_block(f"top.{n}") for n in range(3))
        builder.branch(check)
        builder.position_at_end(check)
        at, top = builder.phi(_INDEX), builder.phi(_VECTOR)
        at.add_incoming(_INDEX(0), before)
        top.add_incoming(_VECTOR([float("-inf")] * TOP), before)
        builder.cbranch(builder.icmp_signed("<", at, count), loop, after)
        builder.position_at_end(loop)
        new = builder.load(builder.gep(values, [at]))
        everywhere = builder.insert_element(_VECTOR(ir.Undefined), new, ir.IntType(32)(0))
        everywhere = builder.shuffle_vector(everywhere, everywhere, _LANES([0] * TOP))
        above = builder.shuffle_vector(
            top, _VECTOR([float("inf")] * TOP), _LANES([TOP, *range(TOP - 1)])
        )
        moved = builder.select(builder.fcmp_ordered("<", above, everywhere), above, everywhere)
        kept = builder.select(builder.fcmp_ordered(">", top, moved), top, moved)
        top.add_incoming(kept, loop)
        at.add_incoming(builder.add(at, _INDEX(1)), loop)
        builder.branch(check)
        builder.position_at_end(after)
        place = builder.inttoptr(out, _VECTOR.as_pointer())
        builder.store(top, place, align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


keep_top: Any = intrinsic(_keep_top)
"""Writes the `TOP` highest of so many float32 numbers, -inf where there are fewer.

Takes the address of the numbers, how many they are, and the address to write to; no
number is NaN.
"""
