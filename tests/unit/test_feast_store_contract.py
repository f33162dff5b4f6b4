"""What our store overrides or calls inside Feast is still what it was written for.

A failure here means: Feast changed one of these pieces. Read its new source, mend the
store where it must follow, then put the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from feast.infra.offline_stores import duckdb
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.passthrough_provider import PassthroughProvider
from feast.on_demand_feature_view import OnDemandFeatureView

from sail_features.feast_plugin.stores.duckdb_store import (
    SailDuckDBOfflineStore,
    SailDuckDBOfflineStoreConfig,
)
from sail_features.feast_plugin.stores.retrieval_job import SailRetrievalJob

OVERRIDDEN = (
    "get_historical_features",
    "pull_latest_from_table_or_query",
    "pull_all_from_table_or_query",
    "offline_write_batch",
    "write_logged_features",
)
RELIED_ON = {
    duckdb._read_data_source: "6b31214cc085",
    duckdb._write_data_source: "b238d5a571f8",
    RetrievalJob.to_arrow: "e72f658be261",
    PassthroughProvider.get_historical_features: "ad833a1b6b63",
    PassthroughProvider.retrieve_saved_dataset: "dded20a61dbe",
    OnDemandFeatureView.get_requested_odfvs: "d1ffda2ad329",
}


def digest(piece: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(piece).encode()).hexdigest()[:12]


@pytest.mark.parametrize("piece", RELIED_ON, ids=lambda piece: piece.__qualname__)
def test_piece_of_feast_is_unchanged(piece: Callable[..., Any]) -> None:
    assert digest(piece) == RELIED_ON[piece]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_methods_take_the_same_arguments(name: str) -> None:
    """Ours may take further ones by name, to refuse them in words of their own."""
    ours, theirs = (
        list(inspect.signature(getattr(store, name)).parameters.values())
        for store in (SailDuckDBOfflineStore, duckdb.DuckDBOfflineStore)
    )
    ours = [one for one in ours if one.kind is not one.VAR_KEYWORD]
    assert [(one.name, one.default) for one in ours] == [(one.name, one.default) for one in theirs]


def test_the_job_implements_all_that_feast_asks_of_one() -> None:
    abstract = {
        name
        for name, piece in vars(RetrievalJob).items()
        if "raise NotImplementedError" in _source(piece)
    }
    assert abstract - set(vars(SailRetrievalJob)) == set()
    assert len(abstract) >= 6


def _source(piece: object) -> str:
    function = piece.fget if isinstance(piece, property) else piece
    return inspect.getsource(function) if inspect.isfunction(function) else ""


def test_configuration_names_its_own_store() -> None:
    settings = SailDuckDBOfflineStoreConfig()
    path = f"{SailDuckDBOfflineStore.__module__}.{SailDuckDBOfflineStore.__qualname__}"
    assert settings.type == path
    assert settings.filter_by_created_timestamp
