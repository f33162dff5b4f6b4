"""The highest numbers of a run, in descending order, without a branch.

Sixteen numbers at a time are sorted by a network of minima and maxima and merged with
the highest so far (K. E. Batcher, Sorting networks and their applications, AFIPS 1968):
every step is the same whatever the numbers. An insertion, one number after the other,
takes twice as long, and one that branches ten times, since nothing predicts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sail_features.match.vector_code import FLOAT, INDEX, LANE, emit_intrinsic, emit_load

TOP: Final = 16
"""How many of the highest numbers are kept."""

_VECTOR: Final = ir.VectorType(FLOAT, TOP)
_LANES: Final = ir.VectorType(LANE, TOP)
_NOTHING: Final = float("-inf")


def _build(emit_ascending: Callable[[Any, Any, Any], Any]) -> Any:
    """Return (address of numbers, how many, address to write to) -> None.

    ``emit_ascending`` emits the next sixteen numbers in ascending order, of (builder,
    address, numbers left).
    """

    @intrinsic
    def keep(context: Any, values: Any, count: Any, out: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, count, out = args
            before = builder.block
            check, loop, after = (builder.append_basic_block(f"top.{n}") for n in range(3))
            builder.branch(check)
            builder.position_at_end(check)
            at, top = builder.phi(INDEX), builder.phi(_VECTOR)
            at.add_incoming(INDEX(0), before)
            top.add_incoming(_VECTOR([_NOTHING] * TOP), before)
            builder.cbranch(builder.icmp_signed("<", at, count), loop, after)
            builder.position_at_end(loop)
            address = builder.add(values, builder.mul(at, INDEX(4)))
            new = emit_ascending(builder, address, builder.sub(count, at))
            top.add_incoming(_merge(builder, top, new), loop)
            at.add_incoming(builder.add(at, INDEX(TOP)), loop)
            builder.branch(check)
            builder.position_at_end(after)
            builder.store(top, builder.inttoptr(out, _VECTOR.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(values, count, out), generate

    return keep


def _emit_sorted(builder: Any, address: Any, left: Any) -> Any:
    """Emit up to sixteen numbers, sorted by the network."""
    vector, size = emit_load(builder, address, TOP, left, _NOTHING), 2
    while size <= TOP:
        vector = _halve(builder, vector, size, falls=[bool(lane & size) for lane in range(TOP)])
        size *= 2
    return vector


def _emit_reversed(builder: Any, address: Any, left: Any) -> Any:
    """Emit sixteen numbers that come in descending order."""
    vector = emit_load(builder, address, TOP)
    return builder.shuffle_vector(vector, vector, _LANES(list(reversed(range(TOP)))))


def _merge(builder: Any, top: Any, ascending: Any) -> Any:
    """Emit the highest of sixteen numbers in descending and sixteen in ascending order."""
    highest = _pick(builder, "maxnum", top, ascending)
    return _halve(builder, highest, TOP, falls=[True] * TOP)


def _halve(builder: Any, vector: Any, size: int, falls: Sequence[bool]) -> Any:
    """Emit the sort of each ``size`` lanes that rise and then fall, or fall and then rise.

    ``falls`` : for each lane, whether those around it are to come in descending order.
    """
    while size > 1:
        size //= 2
        partner = _LANES([lane ^ size for lane in range(TOP)])
        other = builder.shuffle_vector(vector, _VECTOR(ir.Undefined), partner)
        high, low = (_pick(builder, name, vector, other) for name in ("maxnum", "minnum"))
        # Of each pair of lanes one keeps the higher number, the other the lower.
        kept = [lane + TOP * (falls[lane] != (not lane & size)) for lane in range(TOP)]
        vector = builder.shuffle_vector(high, low, _LANES(kept))
    return vector


def _pick(builder: Any, name: str, one: Any, other: Any) -> Any:
    """Emit the higher or the lower of two numbers in each lane."""
    return emit_intrinsic(builder, f"llvm.{name}.v{TOP}f32", _VECTOR, [one, other], ["nnan"])


keep_top: Any = _build(_emit_sorted)
"""Writes the `TOP` highest of so many float32 numbers, -inf where there are fewer.

Takes the address of the numbers, how many they are, and the address to write to; no
number is NaN.
"""
merge_tops: Any = _build(_emit_reversed)
"""Does the same for numbers that are lists which `keep_top` wrote, one behind the other."""


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def highest_of(values: NDArray[np.float32]) -> float:
    """Return the highest number of a run that isn't empty."""
    highest: float = values[0]
    for value in values:
        highest = max(highest, value)
    return highest
