"""What was served against what the feature store recomputes for the same requests.

A row served at t is joined as of t less the lag, as the ranker's training rows were. With
the service that the ranker is trained on, the difference is all that serving does to the
features: rows that were materialised late, histories that end at the last night. With the
online service itself its on-demand features are computed again from the stored state,
and the difference is what serving does wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.feast_plugin.recompute import ServedView, list_keys, list_views, recompute
from sail_features.schemas import TIMESTAMP
from sail_features.skew.compare import Comparison, compare_feature, summarise_feature
from sail_features.skew.report import Limits, SkewReport
from sail_features.skew.served_log import REQUESTED_AT, ROW_TIME, LogError, ServedLog
from sail_features.skew.stability import stability_index

MAX_EXAMPLES: Final = 5
DEFAULT_LIMITS: Final = Limits()


def measure_skew(
    store: FeatureStore,
    service: str,
    log: ServedLog,
    *,
    lag: timedelta,
    reference: pa.Table | None = None,
    relative_tolerance: float = 0.0,
    limits: Limits = DEFAULT_LIMITS,
) -> SkewReport:
    """Compare a log with the features of ``service``, joined as of when they were served.

    Parameters
    ----------
    store : with the registry that has the service.
    log : what was served; a feature of it is found by ``view__feature``, or by its own name.
    lag : features are those of the request's time less this.
    reference : keys and ``event_timestamp`` of rows that the ranker was trained on, for the
        drift; None measures none.
    relative_tolerance : see `compare_feature`.

    Raises
    ------
    LogError
        The log lacks a key, or has none of the service's features.
    InputError
        The reference lacks a key.
    EvaluationError
        The offline store lost or repeated rows.

    Notes
    -----
    Costs a historical join of the log's rows, one of the reference's, and one of the rows
    that differ where the log says how old the stored rows were.
    """
    views = list_views(store, service)
    every = [column for view in views for column in view.columns]
    columns = {name: found for name in every if (found := log.column_of(name, every))}
    if not columns:
        raise LogError.nothing_to_compare(log.path, service, every)
    requests, kept = _requests(log, views, service)
    batch = recompute(store, views, requests, lag=lag)
    trained = _trained(store, views, reference, lag)
    served = pa.table({name: log.rows[column] for name, column in columns.items()}).filter(kept)
    compared = {
        name: compare_feature(served[name], batch[name], relative_tolerance=relative_tolerance)
        for name in columns
    }
    stale: dict[str, NDArray[np.bool_]] = {}
    for view in views:
        stale |= _stale(store, view, requests, log.rows.filter(kept), served, compared)
    features = tuple(
        summarise_feature(
            name,
            found,
            examples=_examples(found, requests, served[name], batch[name]),
            stale=stale.get(name),
            drift=None if trained is None else stability_index(served[name], trained[name]),
        )
        for name, found in compared.items()
    )
    times = pc.min_max(requests[c.EVENT_TIMESTAMP]).as_py()
    return SkewReport(
        service=service,
        log=str(log.path),
        first=str(times["min"]),
        last=str(times["max"]),
        logged_rows=log.logged,
        rows=requests.num_rows,
        reference_rows=0 if trained is None else trained.num_rows,
        relative_tolerance=relative_tolerance,
        limits=limits,
        features=features,
        not_compared=log.features_beside(columns.values(), requests.column_names),
        notes=_notes(log.rows.num_rows - requests.num_rows, trained),
    )


def _requests(
    log: ServedLog, views: Sequence[ServedView], service: str
) -> tuple[pa.Table, pa.Array]:
    """Return the requests that name all entities, and which rows of the log they are."""
    keys = list_keys(views)
    asked = [name for view in views for name in view.asked if name != REQUESTED_AT]
    for name in (*keys, *asked):
        if name not in log.rows.column_names:
            raise LogError.no_key(log.path, name, service, log.rows.column_names)
    kept = np.ones(log.rows.num_rows, bool)
    for key in keys:
        kept &= log.rows[key].is_valid().to_numpy()
    columns = {name: log.rows[name] for name in (*keys, *asked)}
    requests = pa.table({**columns, c.EVENT_TIMESTAMP: log.times}).filter(pa.array(kept))
    if not requests.num_rows:
        raise LogError.no_keys_filled(log.path, keys)
    return requests, pa.array(kept)


def _trained(
    store: FeatureStore,
    views: Sequence[ServedView],
    reference: pa.Table | None,
    lag: timedelta,
) -> pa.Table | None:
    """Return the features of the rows that the ranker was trained on."""
    if reference is None or not reference.num_rows:
        return None
    asked = [name for view in views for name in view.asked if name != REQUESTED_AT]
    for name in (*list_keys(views), *asked, c.EVENT_TIMESTAMP):
        if name not in reference.column_names:
            raise InputError.missing_column("training rows", name, reference.column_names)
    held = reference[c.EVENT_TIMESTAMP].cast(TIMESTAMP, safe=False)
    place = reference.column_names.index(c.EVENT_TIMESTAMP)
    return recompute(store, views, reference.set_column(place, c.EVENT_TIMESTAMP, held), lag=lag)


def _stale(
    store: FeatureStore,
    view: ServedView,
    requests: pa.Table,
    log: pa.Table,
    served: pa.Table,
    compared: Mapping[str, Comparison],
) -> dict[str, NDArray[np.bool_]]:
    """Return, by feature, the rows that differ because an older row of the view answered.

    The view is asked again, as of the time that the log gives for the stored row.
    """
    timed = [name for name in view.columns if f"{name}{ROW_TIME}" in log.column_names]
    timed = [name for name in timed if name in compared]
    if view.on_demand or not timed:
        return {}
    held = log[f"{timed[0]}{ROW_TIME}"].cast(TIMESTAMP, safe=False)
    differs = np.any([compared[name].differs for name in timed], axis=0)
    rows = np.flatnonzero(differs & held.is_valid().to_numpy())
    if not len(rows):
        return {}
    place = requests.column_names.index(c.EVENT_TIMESTAMP)
    then = requests.set_column(place, c.EVENT_TIMESTAMP, held).take(pa.array(rows))
    before = recompute(store, [view], then, lag=timedelta(0))
    found = {name: np.zeros(len(differs), bool) for name in timed}
    for name in timed:
        again = compare_feature(served[name].take(pa.array(rows)), before[name])
        found[name][rows] = ~again.differs
    return found


def _examples(
    found: Comparison, requests: pa.Table, logged: pa.ChunkedArray, batch: pa.ChunkedArray
) -> tuple[dict[str, Any], ...]:
    """Return rows that differ, the largest differences first."""
    rows = np.flatnonzero(found.differs)
    if found.difference is not None:
        rows = rows[np.argsort(-found.difference[rows], kind="stable")]
    chosen = pa.array(rows[:MAX_EXAMPLES])
    table = requests.take(chosen)
    table = table.append_column("logged", logged.take(chosen))
    return tuple(table.append_column("recomputed", batch.take(chosen)).to_pylist())


def _notes(without_key: int, trained: pa.Table | None) -> tuple[str, ...]:
    notes = []
    if without_key:
        notes.append(f"{without_key} rows without a key were left out.")
    if trained is None:
        notes.append("No training rows to compare with: drift was not measured.")
    return tuple(notes)
