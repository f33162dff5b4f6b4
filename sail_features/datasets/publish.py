"""Writes an imported data set as the first partitions of items, events, impressions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset
from sail_features.errors import InputError
from sail_features.manifest import Manifest
from sail_features.tables import TableStore


def next_midnight(dataset: Dataset) -> datetime:
    """Return the first midnight UTC after the last event and impression."""
    latest: datetime = max(
        pc.max(table[c.EVENT_TIMESTAMP]).as_py() for table in (dataset.events, dataset.impressions)
    )
    day = latest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)


def publish_dataset(
    store: TableStore, dataset: Dataset, *, as_of: datetime, since: datetime | None = None
) -> dict[str, Manifest]:
    """Write one partition of each table with the rows in [since, as_of).

    Items are written whole: their content is known from its own time on. Rows at or
    after ``as_of`` are left out and counted.

    Raises
    ------
    InputError
        A window that is empty or ends in the future; or a log that begins where an
        earlier import ends, without ``since``: it would replace what is there.
    """
    _check_window(store, dataset, since, as_of)
    written = {}
    for name in ("items", "events", "impressions"):
        table: pa.Table = getattr(dataset, name)
        kept = table if name == "items" else _between(table, since, as_of)
        with store.replace_partition(
            name, as_of, since=None if name == "items" else since, config={"dataset": dataset.name}
        ) as partition:
            partition.write(kept.sort_by([(key, "ascending") for key in _order(kept)]))
            partition.dropped.update(
                {policy: n for policy, n in dataset.dropped.items() if table_of(policy) == name}
            )
            partition.dropped["outside_window"] = table.num_rows - kept.num_rows
            partition.notes.extend(dataset.notes)
            partition.lineage.update(dataset=dataset.name, negatives=dataset.negatives)
        written[name] = store.latest(name, as_of)
    return written


def sample_users(dataset: Dataset, max_impressions: int) -> Dataset:
    """Keep the impressions of a share of users, chosen by a hash of the id.

    Whole users stay or go, so histories and intervals by user stay right; events are
    kept in full, for item popularity. The data set's last note says what was done.
    """
    total = dataset.impressions.num_rows
    if total <= max_impressions:
        return dataset
    users = dataset.impressions[c.USER_ID].to_pandas()
    place = pd.util.hash_array(users.to_numpy(), categorize=True) / 2.0**64
    kept = dataset.impressions.filter(pa.array(place < max_impressions / total))
    note = (
        f"{kept.num_rows} of {total} impressions: users sampled by hash, "
        f"{len(set(kept[c.USER_ID].to_pylist()))} of {users.nunique()} kept"
    )
    return dataset.with_impressions(kept, note)


def table_of(policy: str) -> str:
    """Return the table whose rows a named policy touches.

    Examples
    --------
    >>> table_of("event_without_time"), table_of("item_time_from_log_start")
    ('events', 'items')
    """
    if policy.startswith(("item_time", "repeated_item")):
        return "items"
    return "impressions" if "impression" in policy or "negative" in policy else "events"


def _check_window(
    store: TableStore, dataset: Dataset, since: datetime | None, as_of: datetime
) -> None:
    where = f"import of {dataset.name}"
    if as_of > datetime.now(UTC) + timedelta(days=1):
        raise InputError.say(where, f"--as-of {as_of} lies in the future", hint="give a past one")
    for name in ("events", "impressions"):
        if not _between(getattr(dataset, name), since, as_of).num_rows:
            raise InputError.say(
                where,
                f"no {name} from {since or 'the beginning'} to {as_of}",
                hint="check --since and --as-of against the times in the files",
            )
    first = pc.min(dataset.events[c.EVENT_TIMESTAMP]).as_py()
    earlier = [m.as_of for m in store.manifests("events") if m.as_of < as_of]
    if earlier and since is None and first >= earlier[-1]:
        raise InputError.say(
            where,
            f"the events begin at {first}, after the last import's end, {earlier[-1]}",
            hint=f"add --since {earlier[-1].isoformat()}, or import the whole log",
        )
    if since is not None and first >= since and dataset.dropped.get("item_time_from_log_start"):
        raise InputError.say(
            where,
            "items without a time of their own are dated by the log's start, and this log "
            f"begins only at {first}",
            hint="import the whole log, --since selects from it; or give items their times",
        )


def _between(table: pa.Table, since: datetime | None, as_of: datetime) -> pa.Table:
    inside = pc.less(table[c.EVENT_TIMESTAMP], pa.scalar(as_of))
    if since is not None:
        inside = pc.and_(inside, pc.greater_equal(table[c.EVENT_TIMESTAMP], pa.scalar(since)))
    return table.filter(inside)


def _order(table: pa.Table) -> list[str]:
    keys = (c.USER_ID, c.EVENT_TIMESTAMP, c.ITEM_ID, c.REQUEST_ID, c.EVENT_TYPE)
    return [key for key in keys if key in table.column_names]
