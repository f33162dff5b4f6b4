"""Star ratings as events and impressions, for every set that has them.

A rating is an impression: the user met the item and gave a verdict. So its
negatives are logged, not sampled, and what a ranker learns is whether a rated
item is liked, not whether a shown one is clicked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset, build_dataset
from sail_features.datasets.impressions import derive_request_ids, mark_logged
from sail_features.datasets.policies import REPEATED_RATING, drop_repeats

RATING: Final = "rating"
"""Name of the stars' column, and the type of the events made from it."""
LIKED_FROM: Final = 4.0
"""Stars from which a rating counts as liked (label 1); the usual cut."""
RATINGS_NOTE: Final = "Labels are ratings of 4 and more among rated items, not clicks."

_MIDDLE: Final = 3.5
_HALF_RANGE: Final = 1.5


def compute_label(stars: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return 1 for ratings of `LIKED_FROM` and more, else 0."""
    return pc.greater_equal(stars, LIKED_FROM).cast(pa.int32())


def compute_weight(
    stars: pa.ChunkedArray, *, middle: float = _MIDDLE, half_range: float = _HALF_RANGE
) -> pa.ChunkedArray:
    """Return signed feedback: (stars - middle) / half_range, 1 for the best of five.

    The defaults are chosen here for 1 to 5 stars, of which 3.5 is no verdict.

    Examples
    --------
    >>> compute_weight(pa.chunked_array([[5.0, 3.5, 2.0]])).to_pylist()
    [1.0, 0.0, -1.0]
    """
    return pc.divide(pc.subtract(stars, middle), half_range)


def build_ratings_dataset(
    name: str,
    items: pa.Table,
    ratings: pa.Table,
    *,
    notes: Iterable[str] = (),
    dropped: Mapping[str, int] | None = None,
) -> Dataset:
    """Make a data set of which every rating is both an event and an impression.

    Parameters
    ----------
    name : what reports call the set.
    items : one row an item.
    ratings : user, item, time and ``rating`` (1 to 5). Of the same user, item and
        time the first is kept. One request is a user's ratings of one time.
    notes, dropped : as in `build_dataset`.

    Raises
    ------
    InputError
        As `build_dataset`.
    """
    ratings, repeated = drop_repeats(ratings, (c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP))
    stars = ratings[RATING]
    rated = ratings.select([c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP])
    events = rated.append_column(c.EVENT_TYPE, pa.repeat(RATING, rated.num_rows))
    events = events.append_column(c.WEIGHT, compute_weight(stars))
    requests = derive_request_ids(rated[c.USER_ID], rated[c.EVENT_TIMESTAMP])
    impressions = rated.append_column(c.REQUEST_ID, requests)
    impressions = impressions.append_column(c.LABEL, compute_label(stars))
    impressions = mark_logged(impressions)
    counts = Counter(dropped or {})
    counts[REPEATED_RATING] += repeated
    return build_dataset(
        name,
        items,
        events,
        impressions,
        negatives="logged",
        notes=(RATINGS_NOTE, *notes),
        dropped=counts,
    )
