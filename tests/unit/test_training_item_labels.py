"""Labels of items: tags and category, as they were known before a moment."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from worlds import at

from sail_features.training.item_labels import build_labels

ITEMS = pa.table(
    {
        "item_id": ["b", "a", "a", "a"],
        "event_timestamp": [at(0), at(0), at(2), at(5)],
        "tags": [["red", "mug", "red"], ["red"], ["blue"], ["green"]],
        "category": [None, "home", "red", None],
    }
)
IDS = np.array(["a", "b", "c"])


def test_the_newest_row_before_the_moment_counts_and_a_category_is_no_tag():
    labels = build_labels(ITEMS, IDS, known_before=at(5)).toarray()
    assert labels.sum(axis=1).tolist() == [2, 2, 0]
    assert (labels[0] @ labels[1]) == 0
    earlier = build_labels(ITEMS, IDS, known_before=at(1)).toarray()
    assert earlier.sum(axis=1).tolist() == [2, 2, 0]
    assert (earlier[0] @ earlier[1]) == 1


def test_items_without_any_label_have_no_columns():
    bare = build_labels(ITEMS.drop(["tags", "category"]), IDS, known_before=at(5))
    assert bare.shape == (len(IDS), 0)
