"""The columns that a join needs, loaded into DuckDB and checked against the views' files."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from sail_features.feast_plugin.stores.asof_sql import ENTITIES, ViewRead, join_sql
from sail_features.feast_plugin.stores.database import load_table
from sail_features.feast_plugin.stores.entity_frames import find_timestamp, key_as, microseconds
from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.join_plan import ViewRequest
from sail_features.feast_plugin.stores.sources import Relation, open_relation


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
