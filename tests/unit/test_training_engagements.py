"""What training may see of a log: positive, known, and strictly before its end."""

from __future__ import annotations

import numpy as np
import pytest
import worlds
from worlds import at

from sail_features.errors import InputError
from sail_features.training.engagements import select_engagements

END = at(5)
CATALOGUE = np.array(["a", "b", "c"])
LOG = [
    ("u", "a", at(1), 1.0),
    ("u", "b", at(2), -1.0),
    ("u", "b", at(3), 0.5),
    ("v", "c", at(3), 1.0),
    ("v", "z", at(2), 1.0),
    ("w", "a", at(5), 1.0),
]


def select(rows, until=END):
    return select_engagements(worlds.events(rows), CATALOGUE, trained_until=until)


def test_only_positive_events_on_known_items_strictly_before_the_end_are_seen():
    found = select(LOG)
    assert found.user.tolist() == [0, 0, 1]
    assert found.item.tolist() == [0, 1, 2]
    assert (found.users, found.items, len(found)) == (2, 3, 3)
    assert found.offsets.tolist() == [0, 2, 3]


def test_support_counts_users_and_not_events():
    again = [*LOG, ("u", "a", at(4), 1.0), ("v", "a", at(4), 1.0)]
    assert select(again).support.tolist() == [2, 1, 1]


def test_whatever_lies_at_or_after_the_end_changes_nothing():
    later = [("aa", "b", at(5), 1.0), ("zz", "c", at(9), 1.0), ("u", "c", at(6), 1.0)]
    assert select([*LOG[:-1], *later]).digest == select(LOG).digest
    assert select([*LOG, ("aa", "b", at(4), 1.0)]).digest != select(LOG).digest


def test_order_of_rows_changes_nothing():
    assert select(LOG[::-1]).digest == select(LOG).digest


@pytest.mark.parametrize(
    ("until", "words"),
    [(at(5).replace(tzinfo=None), "no time zone"), (at(1), "none of 6 is positive, before")],
)
def test_an_end_that_leaves_nothing_or_has_no_zone_is_one_clear_error(until, words):
    with pytest.raises(InputError, match=words):
        select(LOG, until)


def test_ids_of_another_type_are_refused():
    with pytest.raises(InputError, match="item_id"):
        select_engagements(worlds.events(LOG), np.arange(3), trained_until=at(5))
