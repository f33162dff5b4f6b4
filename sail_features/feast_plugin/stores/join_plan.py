"""Which columns of which views a join needs, checked against the files and the entity rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.types import Array, Bytes, Float32, Float64

from sail_features import columns as c
from sail_features.feast_plugin.stores.asof_sql import ENTITIES, ViewRead, join_sql
from sail_features.feast_plugin.stores.database import load_table
from sail_features.feast_plugin.stores.entity_frames import find_timestamp, key_as, microseconds
from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.sources import Relation, open_relation

_VECTORS: Final = (Bytes, Array(Float32), Array(Float64))


@dataclass(frozen=True)
class ViewRequest:
    """A view, and those of its features that are asked for."""

    view: FeatureView
    features: tuple[str, ...]
    full_names: bool

    @property
    def name(self) -> str:
        """What the view is called in this join."""
        return str(self.view.projection.name_to_use())

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' columns in the result."""
        prefix = self.view.projection.name_alias or self.view.name
        return tuple(f"{prefix}__{name}" if self.full_names else name for name in self.features)

    def source_of(self, column: str) -> str:
        """Return what the source calls a column."""
        mapping = self.view.batch_source.field_mapping or {}
        return next((old for old, new in mapping.items() if new == column), column)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a key's column in the source and in the entity rows."""
        renamed = self.view.projection.join_key_map or {}
        return tuple(
            (self.source_of(column.name), renamed.get(column.name, column.name))
            for column in self.view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        )

    @property
    def returns_vectors(self) -> bool:
        """Whether a feature that is asked for may be an embedding."""
        kinds = {field.name: field.dtype for field in self.view.features}
        return any(kinds.get(name) in _VECTORS for name in self.features)


def view_requests(
    views: Sequence[FeatureView], references: Sequence[str], *, full_feature_names: bool
) -> list[ViewRequest]:
    """Return what is asked of each view, in the order of ``view:feature`` references."""
    requests = []
    for view in views:
        prefix = f"{view.projection.name_to_use()}:"
        asked = [name.removeprefix(prefix) for name in references if name.startswith(prefix)]
        if asked:
            requests.append(ViewRequest(view, tuple(asked), full_feature_names))
    return requests


def check_names(entities: pa.Table, requests: Sequence[ViewRequest]) -> None:
    """Raise `JoinInputError` where two columns of the result would have one name."""
    names = [*entities.column_names, *(name for one in requests for name in one.columns)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise JoinInputError.columns_clash(repeated)


def check_encoders(requests: Sequence[ViewRequest]) -> None:
    """Raise where the vectors of two entities are of different encoders.

    A view says in its tag ``encoder_id`` whose vectors it holds; an entity may have
    those of several encoders, as long as the other has some of the same.

    Raises
    ------
    JoinInputError
        A user's and an item's vectors have no encoder in common.
    """
    encoders: dict[tuple[str, ...], dict[str, str]] = {}
    for request in requests:
        encoder = request.view.tags.get(c.ENCODER_ID)
        if encoder and request.returns_vectors:
            entity = tuple(sorted(request.view.join_keys))
            encoders.setdefault(entity, {})[request.name] = encoder
    for one, other in combinations(encoders.values(), 2):
        if not set(one.values()) & set(other.values()):
            raise JoinInputError.encoders_differ({**one, **other})


def load_join(
    con: duckdb.DuckDBPyConnection,
    entities: pa.Table,
    requests: Sequence[ViewRequest],
    folder: str,
    *,
    cut_at_created: bool,
) -> str:
    """Load the entity rows' keys and times, and return the SQL of all features.

    Parameters
    ----------
    con : gets the table `asof_sql.ENTITIES`.
    folder : the repository's, where sources' relative paths start.
    cut_at_created : whether a row is seen only once it was created.

    Raises
    ------
    JoinInputError
        A key, a time, a source's file or a feature's column is missing or of another type.
    """
    asked = _EntityKeys(entities)
    reads = [_view_read(con, asked, request, folder) for request in requests]
    load_table(con, asked.table(), ENTITIES)
    return join_sql(reads, cut_at_created=cut_at_created)


def _view_read(
    con: duckdb.DuckDBPyConnection, asked: _EntityKeys, request: ViewRequest, folder: str
) -> ViewRead:
    source = request.view.batch_source
    relation = open_relation(con, source, folder)
    features = tuple(map(request.source_of, request.features))
    held, created = source.timestamp_field, source.created_timestamp_column
    keys = [key for key, _ in request.keys]
    relation.check_has([*keys, *features, held, *([created] if created else [])])
    held_us = relation.microseconds(held)
    created_us = relation.microseconds(created) if created else held_us
    return ViewRead(
        relation=relation.sql,
        keys=tuple(
            (key, asked.add(request.name, key, name, relation)) for key, name in request.keys
        ),
        held=held_us,
        created=created_us,
        features=features,
        ttl=request.view.ttl,
        known_when_held=_all_equal(con, relation.sql, held_us, created_us),
        wide=any(_is_wide(relation.schema.field(name).type) for name in features),
    )


def _all_equal(con: duckdb.DuckDBPyConnection, relation: str, one: str, other: str) -> bool:
    equal = f"SELECT bool_and({one} IS NOT DISTINCT FROM {other}) FROM {relation}"  # noqa: S608
    return one == other or con.execute(equal).fetchone() == (True,)


def _is_wide(kind: pa.DataType) -> bool:
    return not pa.types.is_primitive(kind)


class _EntityKeys:
    """The keys of entity rows, each column once for each type it is compared in."""

    def __init__(self, entities: pa.Table) -> None:
        self._entities = entities
        self._columns = {
            "row_number": pa.array(np.arange(entities.num_rows)),
            "asked_us": microseconds(entities[find_timestamp(entities)]),
        }
        self._known: dict[tuple[str, pa.DataType], str] = {}

    def add(self, view: str, key: str, column: str, relation: Relation) -> str:
        """Return the column that equals ``key`` of a view's source."""
        if column not in self._entities.column_names:
            raise JoinInputError.key_missing(view, column, self._entities.column_names)
        wanted = relation.schema.field(key).type
        ids = key_as(self._entities[column], wanted, view=view, column=column)
        name = self._known.setdefault((column, ids.type), f"key_{len(self._known)}")
        self._columns[name] = ids
        return name

    def table(self) -> pa.Table:
        return pa.table(self._columns)
