"""Results as DataFrames in which no whole number changes."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sail_features.feast_plugin.stores.entity_frames import EXACT_FLOATS


def to_exact_frame(table: pa.Table) -> pd.DataFrame:
    """Return rows as a DataFrame.

    As in all of Feast, whole numbers beside nulls become float64; where that would
    change one of them (beyond 2^53), the column is Int64.
    """
    frame: pd.DataFrame = table.to_pandas()
    for name in table.column_names:
        if _floats_would_differ(table[name]):
            frame[name] = table[name].to_pandas(types_mapper=lambda _: pd.Int64Dtype())
    return frame


def _floats_would_differ(column: pa.ChunkedArray) -> bool:
    if not (pa.types.is_integer(column.type) and column.null_count):
        return False
    ends = pc.min_max(column).as_py()
    return any(end is not None and abs(end) > EXACT_FLOATS for end in ends.values())
