"""Batches under a budget of padded tokens, longest rows first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def longest_first(costs: Sequence[int]) -> list[int]:
    """Return row numbers by falling cost; rows of one cost keep their order."""
    return sorted(range(len(costs)), key=lambda row: -costs[row])


def rows_that_fit(costs: Sequence[int], start: int, budget: int) -> int:
    """Return how many rows from ``start`` make one batch; costs must not rise.

    A batch is as wide as its first row, so ``budget // width`` rows fit, and at
    least one.
    """
    return min(max(1, budget // max(1, costs[start])), len(costs) - start)


def iter_batches(costs: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield row numbers, longest first, in batches of at most ``budget`` padded tokens.

    Longest first, so that a batch that doesn't fit in memory is met at the start. A
    row longer than the budget comes alone.

    Examples
    --------
    >>> list(iter_batches([2, 9, 3, 3], budget=6))
    [[1], [2, 3], [0]]
    """
    order = longest_first(costs)
    falling = [costs[row] for row in order]
    start = 0
    while start < len(order):
        stop = start + rows_that_fit(falling, start, budget)
        yield order[start:stop]
        start = stop
