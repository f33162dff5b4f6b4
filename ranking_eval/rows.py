"""The rows of an evaluation: one an impression, checked, in an order of their own.

LightGBM's trees depend on the order of rows, so rows are sorted by a stable key
and the order of the caller's frame changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ranking_eval.experiment import Arm, Experiment
from ranking_eval.metrics.arrays import Codes
from sail_features import columns as c
from sail_features.errors import EvaluationError
from sail_features.schemas import IMPRESSIONS, TableSchema, check_table

Frame: TypeAlias = pa.Table | pd.DataFrame

ORDER: Final = (c.EVENT_TIMESTAMP, c.REQUEST_ID, c.USER_ID, c.ITEM_ID)
GUARDED_SUFFIXES: Final = (c.FEATURE_TIME, c.AVAILABLE_AT)
"""Columns whose names end so hold times that the guards look at."""
SCHEMA: Final = TableSchema(
    "evaluation rows",
    IMPRESSIONS.key,
    tuple(column for column in IMPRESSIONS.columns if not column.optional),
)


def load_frames(
    frame: Frame | Mapping[str, Frame], experiment: Experiment
) -> Mapping[str, pa.Table]:
    """Return the rows of each arm by its name, checked and in order of `ORDER`.

    Parameters
    ----------
    frame : one frame with the columns of all arms, or a frame an arm by name.

    Raises
    ------
    InputError
        No rows, a missing, mistyped or null id, time or label, or repeated keys.
    EvaluationError
        Labels other than 0 and 1, an arm without a frame or a column, or a cluster
        column that is missing or has nulls.
    """
    names = [arm.name for arm in experiment.arms]
    cluster = experiment.eval.cluster_by
    beside = (cluster, *experiment.eval.slices)
    if isinstance(frame, Mapping):
        missing = [name for name in names if name not in frame]
        if missing:
            raise EvaluationError.bad_arms("frames", f"none for arm {', '.join(missing)}")
        for arm in experiment.arms:
            _check_columns(arm, frame[arm.name])
        frames = {
            arm.name: load_rows(frame[arm.name], (*arm.columns, *beside)) for arm in experiment.arms
        }
    else:
        for arm in experiment.arms:
            _check_columns(arm, frame)
        features = [name for arm in experiment.arms for name in arm.columns]
        frames = dict.fromkeys(names, load_rows(frame, (*features, *beside)))
    _check_cluster(frames[experiment.control], cluster)
    return frames


def load_rows(frame: Frame, features: Collection[str] = ()) -> pa.Table:
    """Return ids, time, label, features and guard columns, checked and in order of `ORDER`."""
    wanted = {*SCHEMA.names(), *features}
    kept = [
        name for name in _names(frame) if name in wanted or str(name).endswith(GUARDED_SUFFIXES)
    ]
    table: pa.Table = frame
    if isinstance(frame, pd.DataFrame):
        table = pa.Table.from_pandas(frame[kept], preserve_index=False)
    table = table.select(kept)
    check_table(table, SCHEMA, where="evaluate")
    found = pc.unique(table[c.LABEL]).to_pylist()
    if not set(found) <= {0, 1}:
        raise EvaluationError.not_binary("evaluate", sorted(found))
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in ORDER])
    return table.take(order).combine_chunks()


def _names(frame: Frame) -> list[str]:
    return list(frame.columns if isinstance(frame, pd.DataFrame) else frame.column_names)


def _check_columns(arm: Arm, frame: Frame) -> None:
    existing = _names(frame)
    missing = [name for name in arm.columns if name not in existing]
    if missing:
        raise EvaluationError.missing_columns(arm.name, missing, existing)


def _check_cluster(rows: pa.Table, column: str) -> None:
    if column not in rows.column_names:
        raise EvaluationError.bad_cluster(column, "no such column")
    if rows[column].null_count:
        raise EvaluationError.bad_cluster(column, f"{rows[column].null_count} rows are null")


def read_labels(rows: pa.Table) -> Codes:
    """Return the label of each row."""
    return np.asarray(rows[c.LABEL].to_numpy()).astype(np.int64)


def read_codes(rows: pa.Table, column: str) -> Codes:
    """Return a column without nulls as codes 0, 1, ... that all occur."""
    encoded = rows[column].combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy()).astype(np.int64)


def name_rows(rows: pa.Table, numbers: Sequence[int]) -> list[str]:
    """Return the ids of a few rows, for a message."""
    ids = rows.select([c.REQUEST_ID, c.USER_ID, c.ITEM_ID]).take(pa.array(numbers, pa.int64()))
    return [
        f"request {row[c.REQUEST_ID]} user {row[c.USER_ID]} item {row[c.ITEM_ID]}"
        for row in ids.to_pylist()
    ]
