"""The newest row of each user or item of a table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sail_features import columns as c
from sail_features.history import ids_of


def newest_by_key(rows: pa.Table, key: str) -> pa.Table:
    """Return each key's row of the latest ``event_timestamp``, in the order of the keys.

    Examples
    --------
    >>> rows = pa.table({"user_id": ["b", "a", "b"], "event_timestamp": [1, 2, 3]})
    >>> newest_by_key(rows, "user_id").to_pylist()
    [{'user_id': 'a', 'event_timestamp': 2}, {'user_id': 'b', 'event_timestamp': 3}]
    """
    rows = rows.sort_by([(key, "ascending"), (c.EVENT_TIMESTAMP, "ascending")])
    ids = ids_of(rows[key])
    # Arrow sorts strings by their bytes in UTF-8, numpy by code points: the same order.
    return rows.take(pa.array(np.flatnonzero(np.append(ids[1:] != ids[:-1], True))))
