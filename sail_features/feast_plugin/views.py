"""The feature views and services, made from the tables' own columns and lineage.

Nothing is declared twice: a view's fields are the columns that its table has
beyond keys and stamps, and its tags are what its newest manifest says about
encoder, dimension, feature set and window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal

from feast import Entity, FeatureService, FeatureView

from sail_features.feast_plugin.fields import feature_fields
from sail_features.feast_plugin.sources import (
    check_none_superseded,
    check_one_clustering,
    check_one_encoder,
    parquet_source,
    table_schema,
)
from sail_features.feast_plugin.versions import version_tags
from sail_features.schemas import (
    ITEM_EMBEDDING,
    USER_CLUSTER,
    USER_HISTORY,
    USER_INTEREST,
    USER_ITEM_BASELINE,
    USER_ITEM_MATCH,
    USER_ITEM_MATCH_LAGGED,
    USER_ITEM_MATCH_PLACEBO,
    USER_ITEM_MATCH_RANDOM,
)
from sail_features.tables import TableStore

OWNER: Final = "sail-features"
FOREVER: Final = timedelta(0)
"""Feast's word for a row that holds until a newer one."""
ONE_MOMENT: Final = timedelta(microseconds=1)
"""A pair's row answers for its own impression alone; the tables' smallest step."""
Control = Literal["placebo", "random", "lagged"]
CONTROLS: Final[Mapping[Control, tuple[str, str]]] = {
    "placebo": (USER_ITEM_MATCH_PLACEBO.name, "the items' vectors permuted: lifts nothing"),
    "random": (USER_ITEM_MATCH_RANDOM.name, "random vectors: what identity alone says"),
    "lagged": (USER_ITEM_MATCH_LAGGED.name, "histories cut earlier: keeps most of a lift"),
}
"""Table and description of each control arm's match features."""


def item_embedding_view(tables: TableStore, item: Entity) -> FeatureView:
    """Return each item's vector, as float16 bytes, with its dimension and encoder.

    Raises
    ------
    MissingTableError
        Nothing is encoded yet.
    InputError
        Its partitions don't belong together.
    """
    check_one_encoder(tables, ITEM_EMBEDDING.name)
    return _view(
        tables,
        ITEM_EMBEDDING.name,
        [item],
        ttl=FOREVER,
        description="One vector an item: little-endian float16 bytes, unit length.",
    )


def user_history_view(tables: TableStore, user: Entity) -> FeatureView:
    """Return each user's newest events before a partition's end, oldest first.

    Raises
    ------
    MissingTableError
        No history is written yet.
    InputError
        Its partitions don't belong together.
    """
    return _view(
        tables,
        USER_HISTORY.name,
        [user],
        ttl=FOREVER,
        description="The newest events of a user before the row's time: items, times in "
        "microseconds since 1970 UTC, signed weights.",
    )


def user_interest_view(tables: TableStore, user: Entity) -> FeatureView | None:
    """Return what each user is interested in, or None where nobody mined it.

    A row holds until the user's next one: there is one each time the interests change.

    Raises
    ------
    InputError
        Its partitions don't belong together.
    """
    return _changes_view(
        tables,
        USER_INTEREST.name,
        user,
        check_one_encoder,
        description="Interests of a user before the row's time, the most important first: unit "
        "vectors end to end as little-endian float16 bytes, shares, medoid items, numbers of "
        "events, newest times in microseconds since 1970 UTC, mean feedback.",
    )


def user_cluster_view(tables: TableStore, user: Entity) -> FeatureView | None:
    """Return each user's likes by global cluster, or None where nobody counted them.

    A row holds until the user's next one: there is one each time the histograms change.

    Raises
    ------
    InputError
        Its partitions don't belong together.
    """
    return _changes_view(
        tables,
        USER_CLUSTER.name,
        user,
        check_one_clustering,
        description="Likes of a user before the row's time, by primary and secondary cluster of "
        "the catalogue: clusters, counts, decayed shares, newest times in microseconds since "
        "1970 UTC; and the secondary clusters that are long-tail interests.",
    )


def baseline_view(tables: TableStore, user: Entity, item: Entity) -> FeatureView:
    """Return the ordinary features of each impression, which every arm has.

    Raises
    ------
    MissingTableError
        No baseline is computed yet.
    InputError
        Its partitions don't belong together.
    """
    return _pair_view(
        tables,
        USER_ITEM_BASELINE.name,
        [user, item],
        description="Counts, smoothed rates, recency, category and price as of an impression.",
    )


def match_view(tables: TableStore, user: Entity, item: Entity) -> FeatureView:
    """Return how well each impression's item matches the user's history by content.

    Raises
    ------
    MissingTableError
        No match is computed yet.
    InputError
        Its partitions don't belong together.
    """
    return _pair_view(
        tables,
        USER_ITEM_MATCH.name,
        [user, item],
        description="Similarities of the item to the user's history as of an impression.",
    )


def match_control_view(
    control: Control, tables: TableStore, user: Entity, item: Entity
) -> FeatureView | None:
    """Return the match features of a control arm, or None where nobody computed them.

    Parameters
    ----------
    control : ``placebo`` has permuted vectors, ``random`` random ones, ``lagged`` histories
        that were cut earlier.

    Raises
    ------
    InputError
        Its partitions don't belong together.
    """
    table, says = CONTROLS[control]
    if not tables.manifests(table):
        return None
    description = f"As user_item_match, but with {says}."
    return _pair_view(tables, table, [user, item], description=description)


def ranker_service(name: str, views: Sequence[FeatureView], *, description: str) -> FeatureService:
    """Return all features that one arm of the ranker is trained on and served with.

    Views share names (``feature_time``): ask for ``full_feature_names=True``.
    """
    return FeatureService(
        name=name, features=list(views), description=description, owner=OWNER, tags={"arm": name}
    )


def _changes_view(
    tables: TableStore,
    table: str,
    user: Entity,
    check: Callable[[TableStore, str], object],
    *,
    description: str,
) -> FeatureView | None:
    """Return a view of rows that hold until the user's next one, where its table was made."""
    if not tables.manifests(table):
        return None
    check_none_superseded(tables, table)
    check(tables, table)
    return _view(tables, table, [user], ttl=FOREVER, description=description)


def _pair_view(
    tables: TableStore, table: str, entities: list[Entity], *, description: str
) -> FeatureView:
    """Return a view of rows stamped with the moment that their impression is matched as of.

    Offline only: online, a pair's features are computed when the pair is asked for.
    """
    check_none_superseded(tables, table)
    return _view(tables, table, entities, ttl=ONE_MOMENT, online=False, description=description)


def _view(
    tables: TableStore,
    table: str,
    entities: list[Entity],
    *,
    ttl: timedelta,
    description: str,
    online: bool = True,
) -> FeatureView:
    schema = table_schema(tables, table)
    keys = [entity.join_key for entity in entities]
    return FeatureView(
        name=table,
        entities=entities,
        schema=feature_fields(schema, keys, where=f"table {table!r}"),
        source=parquet_source(tables, table),
        ttl=ttl,
        online=online,
        description=description,
        owner=OWNER,
        tags=_tags(tables, table),
    )


def _tags(tables: TableStore, table: str) -> dict[str, str]:
    """Return the newest manifest's lineage, except what is no word or number (fitted edges)."""
    lineage = tables.latest(table).lineage
    said = {
        name: str(value) for name, value in lineage.items() if isinstance(value, str | int | float)
    }
    return said | version_tags()
