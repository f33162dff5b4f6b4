"""The features of a service as of given moments, by the feature store's historical join.

A view at a time, by its own name: Feast's historical join finds no on-demand view by the
name that a service calls it, and leaves its features out without a word. It also drops a
feature of an on-demand view that one of its sources has by the same name; such a feature
is left out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException
from feast.feature_view import DUMMY_ENTITY_ID
from feast.on_demand_feature_view import OnDemandFeatureView

from sail_features import columns as c
from sail_features.errors import ConfigError, EvaluationError
from sail_features.skew.served_log import REQUESTED_AT

ROW: Final = "asked_row"


@dataclass(frozen=True)
class ServedView:
    """A view as one service has it.

    ``keys`` are pairs of what a request calls a key and what the view does; ``asked`` the
    columns that a request adds for an on-demand view.
    """

    name: str
    called: str
    features: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    asked: tuple[str, ...]
    on_demand: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The features as ``view__feature``, by the service's name of the view."""
        return tuple(f"{self.called}__{feature}" for feature in self.features)


def find_service(store: FeatureStore, name: str) -> FeatureService:
    """Return a service of the registry.

    Raises
    ------
    ConfigError
        Nothing of that name is applied.
    """
    try:
        return store.get_feature_service(name)
    except FeatureServiceNotFoundException as error:
        applied = [service.name for service in store.list_feature_services()]
        raise ConfigError.unknown_choice("service", name, applied) from error


def list_views(store: FeatureStore, service: str) -> tuple[ServedView, ...]:
    """Return the views of a service, in its order.

    Raises
    ------
    ConfigError
        Nothing of that name is applied.
    """
    projections = find_service(store, service).feature_view_projections
    return tuple(_served_view(store, projection) for projection in projections)


def list_keys(views: Sequence[ServedView]) -> tuple[str, ...]:
    """Return what requests for these views name entities by."""
    return tuple(dict.fromkeys(key for view in views for key, _ in view.keys))


def recompute(
    store: FeatureStore, views: Sequence[ServedView], requests: pa.Table, *, lag: timedelta
) -> pa.Table:
    """Return what each request should have been answered.

    Parameters
    ----------
    views : those of `list_views` that are asked for.
    requests : their keys, whatever their on-demand views ask for, and ``event_timestamp``,
        the time of the request; ``requested_at`` is made of it.
    lag : features are those of the request's time less this.

    Returns
    -------
    One column ``view__feature`` a feature, in the order of the requests.

    Raises
    ------
    EvaluationError
        The offline store lost or repeated rows.
    """
    times = requests[c.EVENT_TIMESTAMP]
    as_of = pc.subtract(times, pa.scalar(lag, pa.duration("us")))
    asked = _replace(requests, c.EVENT_TIMESTAMP, as_of)
    asked = asked.append_column(ROW, pa.array(np.arange(asked.num_rows)))
    asked = _replace(asked, REQUESTED_AT, times.cast(pa.int64()))
    found = {}
    for view in views:
        joined = _join(store, view, asked)
        for feature, column in zip(view.features, view.columns, strict=True):
            found[column] = joined[f"{view.name}__{feature}"]
    return pa.table(found)


def _served_view(store: FeatureStore, projection: Any) -> ServedView:
    view = _view(store, projection.name)
    on_demand = isinstance(view, OnDemandFeatureView)
    sources = (
        [_view(store, source) for source in view.source_feature_view_projections]
        if on_demand
        else [view]
    )
    keys = [key.name for one in sources for key in one.entity_columns]
    dropped = {field.name for one in sources for field in one.features} if on_demand else ()
    renamed = projection.join_key_map or {}
    return ServedView(
        name=projection.name,
        called=projection.name_to_use(),
        features=tuple(f.name for f in projection.features if f.name not in dropped),
        keys=tuple(
            (renamed.get(key, key), key) for key in dict.fromkeys(keys) if key != DUMMY_ENTITY_ID
        ),
        asked=tuple(view.get_request_data_schema()) if on_demand else (),
        on_demand=on_demand,
    )


def _view(store: FeatureStore, name: str) -> Any:
    return store.registry.get_any_feature_view(name, store.project)


def _join(store: FeatureStore, view: ServedView, asked: pa.Table) -> pa.Table:
    keys = pa.table({own: asked[key] for key, own in view.keys})
    for name in (*view.asked, c.EVENT_TIMESTAMP, ROW):
        keys = keys.append_column(name, asked[name])
    joined = store.get_historical_features(
        entity_df=keys.to_pandas(),
        features=[f"{view.name}:{feature}" for feature in view.features],
        full_feature_names=True,
        filter_by_created_timestamp=True,
    ).to_arrow()
    joined = joined.sort_by(ROW)
    if not np.array_equal(joined[ROW].to_numpy(), np.arange(asked.num_rows)):
        raise EvaluationError.rows_lost(asked.num_rows, joined.num_rows)
    return joined


def _replace(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    """Return ``table`` with one column set, whether it had it or not."""
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)
