"""Times as the judge computes with them: microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features.schemas import TIMESTAMP

Microseconds = NDArray[np.int64]
Times: TypeAlias = pa.Array | pa.ChunkedArray | pd.Series | NDArray[Any]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def as_utc(times: Times) -> pa.Array | pa.ChunkedArray:
    """Return times as an Arrow column in UTC; times without a zone are taken as UTC."""
    column = times if isinstance(times, (pa.Array, pa.ChunkedArray)) else pa.array(times)
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = pc.assume_timezone(column, "UTC")
    return column.cast(TIMESTAMP, safe=False)


def to_microseconds(times: Times) -> Microseconds:
    """Return times without nulls as integers.

    Examples
    --------
    >>> to_microseconds(np.array(["1970-01-02"], dtype="datetime64[s]")).tolist()
    [86400000000]
    """
    return np.asarray(as_utc(times).cast(pa.int64()).to_numpy(zero_copy_only=False))


def to_datetime(microseconds: int) -> datetime:
    """Return the time in UTC."""
    return EPOCH + timedelta(microseconds=int(microseconds))
