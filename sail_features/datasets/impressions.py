"""Make impressions where a log doesn't state all of what they are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.policies import drop_repeats
from sail_features.schemas import TIMESTAMP


def derive_request_ids(users: pa.ChunkedArray, times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return one request id for each (user, time): ``user@microseconds``.

    For logs that don't say which impressions were shown together. A missing time
    leaves its place empty, for the policy on such rows to drop them.
    """
    microseconds = times.cast(TIMESTAMP).cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(
        users.cast(pa.string()), microseconds, "@", null_handling="replace", null_replacement=""
    )


def mark_logged(impressions: pa.Table) -> pa.Table:
    """Add the ``negative_source`` of impressions that really took place."""
    return impressions.append_column(c.NEGATIVE_SOURCE, pa.repeat("logged", impressions.num_rows))


def first_likes(events: pa.Table) -> pa.Table:
    """Return each user's first event of weight above 0 on each item, as impressions.

    Later events on the same item are repeats of a known liking, and no test of
    whether content predicts it.
    """
    liked = events.filter(pc.greater(events[c.WEIGHT], 0)).sort_by(c.EVENT_TIMESTAMP)
    liked, _ = drop_repeats(liked, (c.USER_ID, c.ITEM_ID))
    requests = derive_request_ids(liked[c.USER_ID], liked[c.EVENT_TIMESTAMP])
    first = liked.select([c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP])
    labels = pa.repeat(pa.scalar(1, pa.int32()), liked.num_rows)
    return first.append_column(c.REQUEST_ID, requests).append_column(c.LABEL, labels)
