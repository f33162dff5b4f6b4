"""Columns of a frame as the matrix that LightGBM reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranking_eval.metrics.arrays import Floats
from ranking_eval.split import Rows
from sail_features.errors import EvaluationError


@dataclass(frozen=True, eq=False)
class Matrix:
    """Features of all rows, shape (rows, columns), missing as NaN.

    ``unseen`` counts, for each categorical column, the rows whose category
    doesn't occur in training; to the ranker they are missing.
    """

    columns: tuple[str, ...]
    values: Floats
    unseen: Mapping[str, int]

    @property
    def categorical(self) -> list[int]:
        """Places of the categorical columns."""
        return [self.columns.index(name) for name in self.unseen]


def build_matrix(rows: pa.Table, columns: Sequence[str], training: Rows) -> Matrix:
    """Encode columns: numbers as they are, strings by codes frozen on training rows.

    Raises
    ------
    EvaluationError
        A column is neither a number, a boolean nor a string.
    """
    values = np.empty((rows.num_rows, len(columns)))
    unseen = {}
    for place, name in enumerate(columns):
        column = rows[name]
        if is_categorical(column.type):
            values[:, place], unseen[name] = _encode_categories(column, training)
        elif is_numeric(column.type):
            values[:, place] = column.cast(pa.float64(), safe=False).to_numpy()
        else:
            raise EvaluationError.wrong_column(name, column.type, "a number or a string")
    return Matrix(tuple(columns), values, unseen)


def is_numeric(kind: pa.DataType) -> bool:
    """Say whether the ranker can read such a column as numbers."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)


def is_categorical(kind: pa.DataType) -> bool:
    """Say whether the ranker reads such a column as categories."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    return any(test(kind) for test in tests)


def _encode_categories(column: pa.ChunkedArray, training: Rows) -> tuple[Floats, int]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    known = pc.drop_null(pc.unique(column.take(pa.array(training))))
    known = known.take(pc.sort_indices(known))
    codes = pc.index_in(column, value_set=known)
    unseen = codes.null_count - column.null_count
    return codes.cast(pa.float64()).to_numpy(), unseen
