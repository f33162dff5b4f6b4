"""What an item is labelled with, its tags and its category, as one row of a sparse matrix."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sail_features import columns as c
from sail_features.history import ids_of
from sail_features.schemas import TIMESTAMP


def build_labels(items: pa.Table, item_ids: NDArray[Any], *, known_before: datetime) -> csr_array:
    """Return which labels each item carries, shape (items, labels).

    Parameters
    ----------
    items : keeps `sail_features.schemas.ITEMS`; an item's newest row before the moment counts.
    item_ids : strictly ascending, the rows wanted; an item without labels has an empty row,
        and there are no columns where none has any.
    """
    items = items.filter(pc.less(items[c.EVENT_TIMESTAMP], pa.scalar(known_before, TIMESTAMP)))
    items = items.sort_by(c.EVENT_TIMESTAMP)
    labels: dict[str, int] = {}
    carried: dict[Any, list[int]] = {}
    rows = [
        items[name].to_pylist() if name in items.column_names else [None] * items.num_rows
        for name in (c.TAGS, c.CATEGORY)
    ]
    for item_id, tags, category in zip(ids_of(items[c.ITEM_ID]), *rows, strict=True):
        named = [f"tag {tag}" for tag in tags or ()] + (
            [f"category {category}"] if category else []
        )
        carried[item_id] = [labels.setdefault(name, len(labels)) for name in dict.fromkeys(named)]
    own = [carried.get(item_id, []) for item_id in item_ids]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in own])])
    columns = np.array([label for one in own for label in one], np.int64)
    return csr_array((np.ones(len(columns)), columns, offsets), shape=(len(own), len(labels)))
