"""An import's window: what it selects, and what it refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from sail_features.datasets.publish import next_midnight, publish_dataset, sample_users, table_of
from sail_features.datasets.synthetic import SyntheticConfig, build_synthetic
from sail_features.errors import InputError
from sail_features.tables import TableStore

DATASET = build_synthetic(SyntheticConfig(users=30, items=60, impressions=2_000, days=20))
END = next_midnight(DATASET)
MIDDLE = END - timedelta(days=10)


@pytest.fixture
def store(tmp_path):
    return TableStore(tmp_path)


def test_two_windows_hold_each_row_once(store):
    publish_dataset(store, DATASET, as_of=MIDDLE)
    publish_dataset(store, DATASET, as_of=END, since=MIDDLE)
    for name in ("events", "impressions"):
        assert store.read(name).num_rows == getattr(DATASET, name).num_rows


def test_rows_outside_the_window_are_counted(store):
    written = publish_dataset(store, DATASET, as_of=MIDDLE)["impressions"]
    assert written.rows + written.dropped["outside_window"] == DATASET.impressions.num_rows


@pytest.mark.parametrize(
    ("since", "as_of"),
    [
        (END, MIDDLE),
        (None, datetime(2000, 1, 1, tzinfo=UTC)),
        (None, datetime.now(UTC) + timedelta(days=3)),
    ],
    ids=["backwards", "before all data", "future"],
)
def test_window_without_rows_is_refused_before_anything_is_written(store, since, as_of):
    with pytest.raises(InputError, match=r"as-of|no events"):
        publish_dataset(store, DATASET, as_of=as_of, since=since)
    assert store.manifests("items") == ()


def test_later_log_without_since_does_not_replace_the_earlier_one(store):
    publish_dataset(store, DATASET, as_of=MIDDLE)
    late = build_synthetic(SyntheticConfig(users=30, items=60, impressions=2_000, days=20, seed=1))
    moved = {
        name: getattr(late, name).set_column(
            getattr(late, name).column_names.index("event_timestamp"),
            "event_timestamp",
            _later(getattr(late, name)["event_timestamp"]),
        )
        for name in ("items", "events", "impressions")
    }
    delta = type(late)(late.name, **moved, negatives="logged")
    with pytest.raises(InputError, match="--since"):
        publish_dataset(store, delta, as_of=next_midnight(delta))


def _later(times):
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.add(times, pa.scalar(timedelta(days=30), pa.duration("us")))


def test_sampling_keeps_whole_users():
    sampled = sample_users(DATASET, 1_000)
    kept = set(sampled.impressions["user_id"].to_pylist())
    whole = [user in kept for user in DATASET.impressions["user_id"].to_pylist()]
    assert sum(whole) == sampled.impressions.num_rows < DATASET.impressions.num_rows
    assert len(sampled.notes) == len(DATASET.notes) + 1
    assert "users sampled by hash" in sampled.notes[-1]
    assert sampled.events.num_rows == DATASET.events.num_rows


def test_policies_are_counted_in_the_table_that_they_touch():
    assert table_of("negative_not_found") == "impressions"
    assert table_of("repeated_item") == "items"
    assert table_of("event_of_unknown_item") == "events"
