"""Rankers by their name in ``eval.ranker``; each is one function of `protocol.Ranker`'s form."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ranking_eval.rankers.lightgbm_ranker import fit_lightgbm
from ranking_eval.rankers.logistic_ranker import fit_logistic
from ranking_eval.rankers.protocol import Fit, Ranker, RankerRows, count_workers
from sail_features.config import EvalConfig

RANKERS: Final[Mapping[str, Ranker]] = MappingProxyType(
    {"lightgbm": fit_lightgbm, "logistic": fit_logistic}
)

__all__ = ["RANKERS", "Fit", "Ranker", "RankerRows", "count_workers", "fit_ranker"]


def fit_ranker(rows: RankerRows, config: EvalConfig) -> Fit:
    """Fit the ranker that ``config.ranker`` names."""
    return RANKERS[config.ranker](rows, config)
