"""Whom features describe: a user, an item.

Ids are strings or 64-bit integers, as the tables have them.
"""

from __future__ import annotations

import pyarrow as pa
from feast import Entity
from feast.value_type import ValueType

from sail_features import columns as c
from sail_features.feast_plugin.sources import table_schema
from sail_features.schemas import ITEM_EMBEDDING, USER_HISTORY
from sail_features.tables import TableStore


def user_entity(tables: TableStore) -> Entity:
    """Return the user, whose ids have the type that the histories give them."""
    return Entity(
        name="user",
        join_keys=[c.USER_ID],
        value_type=_id_type(tables, USER_HISTORY.name, c.USER_ID),
        description="Who sees impressions and leaves events.",
    )


def item_entity(tables: TableStore) -> Entity:
    """Return the item, whose ids have the type that the embeddings give them."""
    return Entity(
        name="item",
        join_keys=[c.ITEM_ID],
        value_type=_id_type(tables, ITEM_EMBEDDING.name, c.ITEM_ID),
        description="What is shown and ranked.",
    )


def _id_type(tables: TableStore, table: str, column: str) -> ValueType:
    kind = table_schema(tables, table).field(column).type
    return ValueType.INT64 if kind == pa.int64() else ValueType.STRING
