"""Features of all arms through Feast, in one point-in-time join.

Feast's joins take the feature row at the very moment of the entity row too, so
an impression at t asks for what was known at t less a lag. Views may carry a
``feature_time`` and a column that ends in ``available_at`` beside their
features; the guards check both against the impression's own time.

A source's created column can't be such a feature as well: Feast renames features
to ``view__name`` before it filters by the created column. Store it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

import feast
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranking_eval.experiment import Arm
from ranking_eval.matrix import is_categorical, is_numeric
from ranking_eval.times import as_utc
from sail_features import columns as c
from sail_features.errors import EvaluationError

KEYS: Final = (c.USER_ID, c.ITEM_ID)
LINEAGE: Final = frozenset(
    (
        c.FEATURE_TIME,
        c.AVAILABLE_AT,
        c.CREATED,
        c.ENCODER_ID,
        c.FEATURE_SET_ID,
        c.CONTENT_HASH,
    )
)
"""Features that say where a row comes from; no ranker sees them."""

ROW: Final = "row"


def retrieve(
    store: feast.FeatureStore,
    impressions: pa.Table,
    services: Mapping[str, str],
    *,
    lag: timedelta,
) -> tuple[pa.Table, tuple[Arm, ...]]:
    """Join the features of all arms to impressions, and say which columns each arm sees.

    Parameters
    ----------
    store : with an offline store that supports ``filter_by_created_timestamp``.
    impressions : user_id, item_id, event_timestamp, and whatever else to keep.
    services : name of the FeatureService of each arm, control first.
    lag : features are looked up as of the impression's time less this.

    Returns
    -------
    The impressions in their own order with a column ``view__feature`` for each
    feature, and the arms. An arm's columns are its service's numbers, booleans
    and strings; times, lineage, lists and bytes stay in the table only.

    Raises
    ------
    EvaluationError
        The join lost or repeated rows.

    Notes
    -----
    Feature rows that became known after the looked-up time are not seen
    (``filter_by_created_timestamp``), in views whose source has a created column.
    """
    references = {arm: list_features(store, service) for arm, service in services.items()}
    every = list(dict.fromkeys(name for names in references.values() for name in names))
    features = _join(store, impressions, every, lag)
    for name in features.column_names:
        impressions = impressions.append_column(name, features[name])
    arms = tuple(
        Arm(arm, tuple(_choose_columns(features, references[arm])), service)
        for arm, service in services.items()
    )
    return impressions, arms


def list_features(store: feast.FeatureStore, service: str) -> list[str]:
    """Return a service's features as ``view:feature``, in the service's order."""
    projections = store.get_feature_service(service).feature_view_projections
    return [
        f"{projection.name_to_use()}:{feature.name}"
        for projection in projections
        for feature in projection.features
    ]


def _join(
    store: feast.FeatureStore, impressions: pa.Table, references: list[str], lag: timedelta
) -> pa.Table:
    """Return the features of each impression, in the impressions' order."""
    as_of = pc.subtract(as_utc(impressions[c.EVENT_TIMESTAMP]), pa.scalar(lag, pa.duration("us")))
    asked = impressions.select(KEYS).append_column(c.EVENT_TIMESTAMP, as_of)
    asked = asked.append_column(ROW, pa.array(np.arange(asked.num_rows)))
    joined = store.get_historical_features(
        entity_df=asked.to_pandas(),
        features=references,
        full_feature_names=True,
        filter_by_created_timestamp=True,
    ).to_arrow()
    joined = joined.sort_by(ROW)
    if not np.array_equal(joined[ROW].to_numpy(), np.arange(asked.num_rows)):
        raise EvaluationError.rows_lost(asked.num_rows, joined.num_rows)
    return joined.select([_column_of(reference) for reference in references])


def _choose_columns(features: pa.Table, references: Iterable[str]) -> list[str]:
    """Return the columns of a service's features that a ranker can see."""
    chosen = []
    for reference in references:
        column, feature = _column_of(reference), reference.split(":", 1)[1]
        kind = features[column].type
        if feature not in LINEAGE and (is_numeric(kind) or is_categorical(kind)):
            chosen.append(column)
    return chosen


def _column_of(reference: str) -> str:
    """Return the name that Feast gives a feature's column with ``full_feature_names``."""
    return reference.replace(":", "__", 1)
