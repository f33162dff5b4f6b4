"""Answers of the online store as rows of a log, for `sail-features skew` to compare.

Feast's Python server writes no log. This makes the rows that Feast's logging has, with two
things that it leaves out: the keys of on-demand views, and times to the microsecond.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from feast import FeatureStore
from feast.feature_logging import (
    LOG_DATE_FIELD,
    LOG_TIMESTAMP_FIELD,
    REQUEST_ID_FIELD,
    FeatureServiceLoggingSource,
)
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.online_response import OnlineResponse

from sail_features.errors import ConfigError, InputError
from sail_features.feast_plugin.recompute import find_service
from sail_features.feast_plugin.stores.parquet_files import absolute
from sail_features.skew.served_log import ROW_TIME

STATUS: Final = "__status"


def feature_log(
    store: FeatureStore,
    service: str,
    request: Mapping[str, Sequence[Any]],
    answer: OnlineResponse,
    *,
    at: datetime | None = None,
) -> pa.Table:
    """Return an answer as rows of the service's log.

    Parameters
    ----------
    service : whose features were asked for, with ``full_feature_names=True``.
    request : what was asked: lists of keys, and of what on-demand views ask for.
    answer : of ``store.get_online_features``.
    at : when it was served; None is now.

    Returns
    -------
    One row a row of the request. Collect those of many requests (``pa.concat_tables``), and
    write them as Parquet, or by Feast's ``store.write_logged_features`` to the destination
    that the service's ``logging_config`` names.

    Raises
    ------
    InputError
        The answer lacks a feature of the service, or has short names.
    """
    moment = at or datetime.now(UTC)
    schema = FeatureServiceLoggingSource(find_service(store, service), store.project).get_schema(
        store.registry
    )
    features = [name.removesuffix(STATUS) for name in schema.names if name.endswith(STATUS)]
    answered = dict(zip(answer.proto.metadata.feature_names.val, answer.proto.results, strict=True))
    values = answer.to_dict()
    columns = {name: pa.array(asked) for name, asked in request.items()}
    for name in features:
        if name not in answered:
            raise InputError.missing_column(f"answer of {service!r}", name, list(answered))
        kind = schema.field(name).type
        columns[name] = pa.array(values[name], kind)
        columns[f"{name}{ROW_TIME}"] = pa.array(
            [_microseconds(time) for time in answered[name].event_timestamps]
        ).cast(pa.timestamp("us", "UTC"))
        columns[f"{name}{STATUS}"] = pa.array(list(answered[name].statuses), pa.int32())
    rows = len(next(iter(request.values())))
    columns[LOG_TIMESTAMP_FIELD] = pa.array([moment] * rows, pa.timestamp("us", "UTC"))
    columns[LOG_DATE_FIELD] = pa.array([moment.date()] * rows, pa.date32())
    columns[REQUEST_ID_FIELD] = pa.array([uuid.uuid4().hex] * rows)
    return pa.table(columns)


def logging_folder(store: FeatureStore, service: str) -> Path:
    """Return where the rows that are logged for a service lie.

    Raises
    ------
    ConfigError
        The service is logged nowhere, or to what is no folder of Parquet.
    """
    logging = find_service(store, service).logging_config
    if logging is None:
        raise ConfigError.say(
            f"service {service!r}",
            "has no logging_config, so nothing says where its log is",
            hint="give --log PATH",
        )
    if not isinstance(logging.destination, FileLoggingDestination):
        raise ConfigError.say(
            f"service {service!r}",
            f"is logged to a {type(logging.destination).__name__}, not to Parquet files",
            hint="export it as Parquet and give --log PATH",
        )
    return Path(absolute(logging.destination.path, str(store.repo_path)))


def _microseconds(time: Any) -> int | None:
    """Return a stored row's time since 1970, None where no row answered."""
    return time.seconds * 1_000_000 + time.nanos // 1_000 if time.seconds else None
