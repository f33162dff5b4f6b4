"""The columns that a join needs, as Spark data frames, checked against the views' sources."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from feast import BatchFeatureView
from feast.feature_view_utils import get_transformation_function, has_transformation
from pyspark.sql import DataFrame, SparkSession

from sail_features.feast_plugin.batch_views import sink_of
from sail_features.feast_plugin.stores.entity_frames import family
from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.join_plan import ViewRequest
from sail_features.feast_plugin.stores.spark_entities import (
    AskedTimes,
    SparkEntities,
    check_asked,
    check_comparable,
    comparable,
    of_family,
)
from sail_features.feast_plugin.stores.spark_sources import (
    SparkRelation,
    named_rows,
    open_relation,
    relation_of,
)
from sail_features.spark.as_of_join import ASKED, CREATED, HELD, AsOfView, join_as_of


def plan_join(
    spark: SparkSession,
    entities: SparkEntities,
    requests: Sequence[ViewRequest],
    folder: str,
    *,
    cut_at_created: bool,
) -> tuple[DataFrame, AskedTimes]:
    """Return the entity rows with all features beside them, not yet computed, and their times.

    Parameters
    ----------
    folder : the repository's, where sources' relative paths start.
    cut_at_created : whether a row is seen only once it was created.

    Raises
    ------
    JoinInputError
        A key, a time, a source or a feature's column is missing or of another type.
    """
    keys = _EntityKeys(entities)
    views = [_as_of_view(spark, keys, request, folder) for request in requests]
    times = check_asked(entities, keys.whole)
    joined = join_as_of(
        keys.asked(), views, cut_at_created=cut_at_created, partitions=entities.partitions
    )
    answers = [
        f"answer_{place}_{number}"
        for place, request in enumerate(requests)
        for number in range(len(request.features))
    ]
    names = [name for request in requests for name in request.columns]
    own = [f"c{place}" for place in range(len(entities.names))]
    return joined.select(*own, *answers).toDF(*entities.names, *names), times


def _as_of_view(
    spark: SparkSession, asked: _EntityKeys, request: ViewRequest, folder: str
) -> AsOfView:
    relation = view_relation(spark, request, folder)
    held, created = request.times
    features = list(map(request.source_of, request.features))
    relation.check_has(
        [*(key for key, _ in request.keys), *features, held, *([created] if created else [])]
    )
    keys = [
        of_family(relation.column(key), relation.schema.field(key).type) for key, _ in request.keys
    ]
    return AsOfView(
        rows=relation.frame.select(
            *(key.alias(f"key_{number}") for number, key in enumerate(keys)),
            relation.microseconds(held).alias(HELD),
            relation.microseconds(created or held).alias(CREATED),
            *(relation.column(name).alias(f"feature_{n}") for n, name in enumerate(features)),
        ),
        keys=tuple(asked.add(request.name, key, name, relation) for key, name in request.keys),
        features=len(features),
        ttl=request.view.ttl,
        wide=any(not pa.types.is_primitive(relation.schema.field(n).type) for n in features),
    )


def view_relation(spark: SparkSession, request: ViewRequest, folder: str) -> SparkRelation:
    """Return the rows of a view: of its sink where it has one, else computed from its source."""
    view = request.view
    if not isinstance(view, BatchFeatureView) or not has_transformation(view):
        return open_relation(spark, view.batch_source, folder)
    sink = sink_of(view)
    if sink is not None:
        return open_relation(spark, sink, folder)
    transform = get_transformation_function(view)
    raw = named_rows(open_relation(spark, view.batch_source, folder))
    return relation_of(view.batch_source.name, transform(raw))


class _EntityKeys:
    """The keys of entity rows, each column once for each type it is compared in."""

    def __init__(self, entities: SparkEntities) -> None:
        self._entities = entities.relation
        self._known: dict[tuple[str, object], str] = {}
        self._columns = {ASKED: self._entities.microseconds(entities.timestamp)}
        self.whole: dict[str, str] = {}
        """Columns of floats that are compared with whole numbers, and for which view."""

    def add(self, view: str, key: str, column: str, relation: SparkRelation) -> str:
        """Return the column that equals ``key`` of a view's source."""
        schema = self._entities.schema
        if column not in schema.names:
            raise JoinInputError.key_missing(view, column, schema.names)
        got, wanted = schema.field(column).type, relation.schema.field(key).type
        check_comparable(view, column, got, wanted)
        if pa.types.is_floating(got) and pa.types.is_integer(wanted):
            self.whole[column] = view
        name = self._known.setdefault((column, family(wanted)), f"asked_key_{len(self._known)}")
        self._columns[name] = comparable(self._entities.column(column), got, wanted)
        return name

    def asked(self) -> DataFrame:
        return self._entities.frame.withColumns(self._columns)
