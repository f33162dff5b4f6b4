"""Feast's SQLite online store, with rows that expire and a vector search without a server.

Feast's own search loads sqlite-vec, and on Python 3.10 alone. Here the vectors of a view
are kept in memory as one matrix, read again when the database has changed, and a query is
one matrix-vector product: exact, some milliseconds for a hundred thousand items.

Feast's online stores return a row however old it is; this one keeps to the view's TTL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from feast import FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.infra.online_stores.sqlite import (
    SqliteOnlineStore,
    SqliteOnlineStoreConfig,
    _quote_id,
    _table_id,
)
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.types import Bytes
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.errors import ConfigError, InputError

CLASS: Final = "sail_features.feast_plugin.stores.sqlite_store.SailSqliteOnlineStore"
DISTANCE: Final = "distance"
Document: TypeAlias = tuple[datetime | None, EntityKey | None, dict[str, Value] | None]


class SailSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]  # untyped
    """Settings in feature_store.yaml: those of Feast's SQLite store."""

    type: Literal["sail_features.feast_plugin.stores.sqlite_store.SailSqliteOnlineStore"] = CLASS


@dataclass(frozen=True)
class _Index:
    """The vectors of one view as they were at one state of the database."""

    state: tuple[int, int]
    keys: list[bytes]
    times: NDArray[np.datetime64]
    vectors: NDArray[np.float32]


class SailSqliteOnlineStore(SqliteOnlineStore):  # type: ignore[misc]  # untyped
    """Feast's SQLite store, with TTLs, and `retrieve_online_documents_v2` on any Python.

    Notes
    -----
    The searched field is the one that its view marks as ``vector_index``, or the bytes of
    `item_embedding_view`. Memory: 4 bytes a number of the view's vectors.
    """

    def __init__(self) -> None:
        super().__init__()
        self._indices: dict[str, _Index] = {}

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return each key's time and features, nothing where they are older than the TTL."""
        rows = super().online_read(config, table, entity_keys, requested_features)
        oldest = _oldest(table)
        return [row if row[0] is None or row[0] >= oldest else (None, None) for row in rows]

    def retrieve_online_documents_v2(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float] | None,
        top_k: int,
        distance_metric: str | None = None,
        query_string: str | None = None,
        filters: Any = None,
        include_feature_view_version_metadata: bool = False,
    ) -> list[Document]:
        """Return the rows nearest to a query, in the order of their ids.

        Parameters
        ----------
        embedding : the query, as long as the stored vectors.
        top_k : how many rows, at least 1.
        distance_metric : ``cosine`` (the default), ``inner_product`` or ``L2``; the view's
            ``vector_search_metric`` goes first, as everywhere in Feast.

        Returns
        -------
        The event's time, the entity's key and the requested features with ``distance``:
        1 - cosine, minus the inner product, or the Euclidean distance.

        Raises
        ------
        ConfigError
            The view has no vector, or a search that isn't offered: text, filters, another
            metric.
        InputError
            A query of another length, or stored vectors of several.

        Notes
        -----
        Sort the answer by ``distance``. Feast 0.67 sorts the ids of what it gets but not the
        features, so rows in the order of distance would come out with each other's features.
        """
        if query_string is not None or filters is not None or embedding is None:
            raise ConfigError.say(
                f"view {table.name!r}",
                "this store searches by vector alone, not by text or filters",
                hint="give query=[...]; filter what comes back",
            )
        connection = self._get_conn(config)
        name = _table_id(
            config.project, table, config.registry.enable_online_feature_view_versioning
        )
        index = self._index(connection, name, _vector_field(table))
        query = np.asarray(embedding, np.float32)
        if len(index.keys) and len(query) != index.vectors.shape[1]:
            raise InputError.say(
                f"view {table.name!r}",
                f"a query of {len(query)} numbers, vectors of {index.vectors.shape[1]}",
                hint="encode the query with the encoder of the view's tags",
            )
        distances = _distances(index.vectors, query, distance_metric or "cosine")
        held = np.flatnonzero(index.times >= np.datetime64(_oldest(table).replace(tzinfo=None)))
        nearest = held[_smallest(distances[held], top_k)]
        rows = _read_rows(connection, name, [index.keys[row] for row in nearest])
        documents = [
            _document(
                index.keys[row],
                rows[index.keys[row]],
                requested_features,
                float(distances[row]),
                config.entity_key_serialization_version,
            )
            for row in nearest
        ]
        return sorted(documents, key=_id_of)

    def _index(self, connection: sqlite3.Connection, name: str, field: str) -> _Index:
        # The first number changes with others' commits, the second with our own.
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        state = (int(version), connection.total_changes)
        index = self._indices.get(name)
        if index is None or index.state != state:
            index = self._indices[name] = _read_index(connection, name, field, state)
        return index


def _oldest(view: FeatureView) -> datetime:
    """Return the time that the oldest valid rows are of; a TTL of 0 is none."""
    now = datetime.now(UTC)
    return now - view.ttl if view.ttl else datetime.min.replace(tzinfo=UTC)


def _vector_field(view: FeatureView) -> str:
    """Return what is searched: the marked field, or the vectors of `item_embedding_view`.

    Feast lets no field of bytes be marked: it refuses to write one.
    """
    marked = [field.name for field in view.schema if field.vector_index]
    bytes_fields = [f.name for f in view.schema if f.name == c.EMBEDDING and f.dtype == Bytes]
    fields = marked or bytes_fields
    if len(fields) != 1:
        raise ConfigError.say(
            f"view {view.name!r}",
            f"has {len(fields)} vectors to search, one is needed",
            hint="search item_embedding, or mark a field as vector_index and run `feast apply`",
        )
    return str(fields[0])


def _read_index(
    connection: sqlite3.Connection, name: str, field: str, state: tuple[int, int]
) -> _Index:
    found = connection.execute(
        f"SELECT entity_key, value, event_ts FROM {_quote_id(name)} "  # noqa: S608  # Feast's quoting
        "WHERE feature_name = ? ORDER BY entity_key",
        (field,),
    )
    rows = [
        (key, time, vector)
        for key, value, time in found
        if (vector := _vector_of(Value.FromString(value))) is not None
    ]
    lengths = {len(vector) for _, _, vector in rows}
    if len(lengths) > 1:
        raise InputError.say(
            name,
            f"vectors of {len(lengths)} lengths: {', '.join(map(str, sorted(lengths)))}",
            hint="empty the online store and materialize again: an encoder was changed",
        )
    return _Index(
        state,
        [key for key, _, _ in rows],
        np.array([time for _, time, _ in rows], "datetime64[us]"),
        np.stack([vector for _, _, vector in rows]) if rows else np.empty((0, 0), np.float32),
    )


def _vector_of(value: Value) -> NDArray[np.float32] | None:
    """Return a stored vector, of float16 bytes or of a list; None where it is null."""
    kind = value.WhichOneof("val")
    if kind == "bytes_val":
        return np.frombuffer(value.bytes_val, "<f2").astype(np.float32)
    if kind in ("float_list_val", "double_list_val"):
        return np.asarray(getattr(value, kind).val, np.float32)
    return None


def _distances(
    vectors: NDArray[np.float32], query: NDArray[np.float32], metric: str
) -> NDArray[np.float32]:
    if not len(vectors):
        return np.empty(0, np.float32)
    products = vectors @ query
    if metric.lower() == "inner_product":
        return -products
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if metric.lower() == "cosine":
        lengths = np.sqrt(squares) * np.float32(np.linalg.norm(query))
        return np.asarray(1 - products / np.maximum(lengths, np.float32(1e-12)), np.float32)
    if metric.lower() == "l2":
        squared = squares + np.float32(query @ query) - 2 * products
        return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32)
    raise ConfigError.unknown_choice("distance_metric", metric, ("cosine", "inner_product", "L2"))


def _smallest(values: NDArray[np.float32], count: int) -> list[int]:
    """Return the rows of the smallest values, ascending; of equal ones the first row."""
    count = min(count, len(values))
    if count <= 0:
        return []
    edge = np.partition(values, count - 1)[count - 1]
    close = np.flatnonzero(values <= edge)
    order = np.argsort(values[close], kind="stable")[:count]
    return [int(row) for row in close[order]]


def _read_rows(
    connection: sqlite3.Connection, name: str, keys: Sequence[bytes]
) -> dict[bytes, list[tuple[str, bytes, Any]]]:
    rows: dict[bytes, list[tuple[str, bytes, Any]]] = {key: [] for key in keys}
    marks = ", ".join("?" * len(keys))
    found = connection.execute(
        f"SELECT entity_key, feature_name, value, event_ts FROM {_quote_id(name)} "  # noqa: S608
        f"WHERE entity_key IN ({marks})",
        list(keys),
    )
    for key, feature, value, event_time in found:
        rows[key].append((feature, value, event_time))
    return rows


def _id_of(document: Document) -> list[Any]:
    """Return what Feast sorts the rows of an answer by."""
    values = document[1].entity_values if document[1] else ()
    return [getattr(value, value.WhichOneof("val")) for value in values]


def _document(
    key: bytes,
    row: list[tuple[str, bytes, Any]],
    requested: Sequence[str],
    distance: float,
    key_version: int,
) -> Document:
    features = {name: Value.FromString(value) for name, value, _ in row if name in requested}
    features[DISTANCE] = Value(float_val=distance)
    event_time = row[0][2] if row and isinstance(row[0][2], datetime) else None
    entity = deserialize_entity_key(key, entity_key_serialization_version=key_version)
    return event_time, entity, features
