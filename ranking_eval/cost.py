"""What columns cost beside what they are worth: space, time to serve, time to encode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
import pyarrow as pa

from ranking_eval.inference import Lift
from ranking_eval.metrics.arrays import Floats
from ranking_eval.pareto import find_front
from sail_features.errors import EvaluationError

COST_NAMES: Final = {
    "bytes_per_row": "feature bytes a row",
    "online_ms": "online ms a request",
    "encode_s_per_1k_items": "encode seconds a 1,000 items",
}


@dataclass(frozen=True)
class GivenCost:
    """What somebody measured outside; None where nobody did.

    ``online_ms`` is the time that a request's features take when served,
    ``encode_s_per_1k_items`` the encoder's seconds a thousand items.
    """

    online_ms: float | None = None
    encode_s_per_1k_items: float | None = None


@dataclass(frozen=True)
class Cost(GivenCost):
    """A given cost, and the bytes that a row of the columns holds in memory (measured)."""

    bytes_per_row: float = 0.0

    def known(self) -> dict[str, float]:
        """Return the costs that are known, by the names of `COST_NAMES`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure_cost(rows: pa.Table, columns: Sequence[str], given: GivenCost | None = None) -> Cost:
    """Return the cost of columns of a frame.

    Parameters
    ----------
    rows : whose Arrow buffers are counted, validity and offsets included.
    given : what was measured outside.
    """
    held = sum(rows[name].nbytes for name in columns) / rows.num_rows
    return Cost(**asdict(given or GivenCost()), bytes_per_row=held)


def check_costs(costs: Mapping[str, GivenCost], known: Sequence[str]) -> None:
    """Refuse costs of what isn't compared, or below 0.

    Raises
    ------
    EvaluationError
        A name that isn't known, or a negative cost.
    """
    for name, cost in costs.items():
        if name not in known:
            problem = f"nothing of this name is compared; there are {', '.join(known)}"
            raise EvaluationError.bad_arms(f"costs of {name!r}", problem)
        given = [getattr(cost, field.name) for field in fields(cost)]
        if any(value is not None and not value >= 0 for value in given):
            raise EvaluationError.bad_arms(f"costs of {name!r}", "a cost is below 0")


def stack_costs(costs: Sequence[Cost]) -> tuple[list[str], Floats]:
    """Return the kinds of cost that are known of all, and a matrix (choices, kinds) of them."""
    shared = [name for name in COST_NAMES if all(name in cost.known() for cost in costs)]
    table = [[cost.known()[name] for name in shared] for cost in costs]
    return shared, np.array(table, np.float64).reshape(len(costs), len(shared))


def find_best_buys(gains: Mapping[str, Lift], costs: Mapping[str, Cost]) -> tuple[str, ...]:
    """Return the names on the Pareto front of AUC gained and of all costs that are known.

    Parameters
    ----------
    gains, costs : by name; costs of more than what has a gain are passed over.
    """
    values = np.array([lift.delta for lift in gains.values()])
    _, table = stack_costs([costs[name] for name in gains])
    return tuple(name for name, best in zip(gains, find_front(values, table), strict=True) if best)
