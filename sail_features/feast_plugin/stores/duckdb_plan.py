"""The columns that a join needs, loaded into DuckDB and checked against the views' files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from sail_features.feast_plugin.stores.asof_sql import ENTITIES, ViewRead, join_sql
from sail_features.feast_plugin.stores.database import load_table
from sail_features.feast_plugin.stores.entity_frames import find_timestamp, key_as, microseconds
from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.join_plan import ViewRequest
from sail_features.feast_plugin.stores.sources import Relation, open_relation
from sail_features.feast_plugin.stores.wide_columns import WideColumns, hold_apart


@dataclass(frozen=True)
class JoinQuery:
    """SQL of all features in the entity rows' order, after their ``row_number``.

    ``wide`` has what to put in the place of the columns of these numbers.
    """

    sql: str
    wide: Mapping[int, WideColumns]


def load_join(
    con: duckdb.DuckDBPyConnection,
    entities: pa.Table,
    requests: Sequence[ViewRequest],
    folder: str,
    *,
    cut_at_created: bool,
) -> JoinQuery:
    """Load the entity rows' keys and times, and return the query of all features.

    Parameters
    ----------
    con : gets the table `asof_sql.ENTITIES`, and one of each view with wide features.
    folder : the repository's, where sources' relative paths start.
    cut_at_created : whether a row is seen only once it was created.

    Raises
    ------
    JoinInputError
        A key, a time, a source's file or a feature's column is missing or of another type.
    """
    asked = _EntityKeys(entities)
    reads, wide, column = [], {}, 1
    for request in requests:
        read, held_apart = _view_read(con, asked, request, folder)
        if held_apart is not None:
            wide[column] = held_apart
        column += len(read.answers)
        reads.append(read)
    load_table(con, asked.table(), ENTITIES)
    return JoinQuery(join_sql(reads, cut_at_created=cut_at_created), wide)


def _view_read(
    con: duckdb.DuckDBPyConnection, asked: _EntityKeys, request: ViewRequest, folder: str
) -> tuple[ViewRead, WideColumns | None]:
    relation = open_relation(con, request.view.batch_source, folder)
    features = tuple(map(request.source_of, request.features))
    held, created = request.times
    keys = [key for key, _ in request.keys]
    needed = [*keys, held, *([created] if created else [])]
    relation.check_has([*needed, *features])
    held_us = relation.microseconds(held)
    created_us = relation.microseconds(created) if created else held_us
    wide = any(_is_wide(relation.schema.field(name).type) for name in features)
    apart = hold_apart(con, relation.sql, features, needed) if wide else None
    rows, columns = apart or (relation.sql, None)
    read = ViewRead(
        relation=rows,
        keys=tuple(
            (key, asked.add(request.name, key, name, relation)) for key, name in request.keys
        ),
        held=held_us,
        created=created_us,
        features=features,
        ttl=request.view.ttl,
        known_when_held=_all_equal(con, rows, held_us, created_us),
        wide=wide,
        apart=columns is not None,
    )
    return read, columns


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
