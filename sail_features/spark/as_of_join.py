"""The point-in-time join of Spark data frames: linear, in one pass for each distinct key.

The rows of views and the rows that ask lie in one frame, sorted by key and time; a
running maximum tells each asking row the newest view row that it could know. So a key
with n rows and m questions costs n + m, where a join on the key with a condition on the
times, which is what Feast's Spark template does, costs n * m. Views of the same key
share one shuffle and one sort. Everything spills, nothing is collected.

Columns are named here, by position: what users typed is never parsed as SQL. Known gap:
a view without a key is joined by one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as f

ROW: Final = "row_number"
ASKED: Final = "asked_us"
HELD: Final = "held_us"
CREATED: Final = "created_us"
_KNOWN: Final = "known_us"
_ASKS: Final = "asks"
_ROWS_BITS: Final = 33
"""``monotonically_increasing_id`` has the partition above so many bits, the row in them."""


@dataclass(frozen=True)
class AsOfView:
    """What one view gives to a join.

    ``rows`` has ``key_0``..., `HELD` and `CREATED` in microseconds, ``feature_0``...;
    ``keys`` names the asking rows' column that equals each key; a row answers no later
    than ``ttl`` after it held. ``wide``: features take more than a few bytes a row.
    """

    rows: DataFrame
    keys: tuple[str, ...]
    features: int
    ttl: timedelta | None
    wide: bool


def join_as_of(
    asked: DataFrame,
    views: Sequence[AsOfView],
    *,
    cut_at_created: bool,
    partitions: int | None = None,
) -> DataFrame:
    """Return ``asked`` with ``answer_V_F`` beside it: feature F of view V as of each row.

    Parameters
    ----------
    asked : has `ROW`, by which the result is sorted, `ASKED` in microseconds, the
        views' keys, and whatever else is to be kept.
    cut_at_created : whether a view's row is seen only once it was created.
    partitions : how many ``asked`` has, where `ROW` is ``monotonically_increasing_id``,
        so that each row goes back to where it was; a sort of all costs half as much again.

    Notes
    -----
    The row that answers is, of those seen at ``asked_us``, the one with the greatest
    (held, created). Views of vectors come last: all that was found is shuffled again
    for each further key.
    """
    places: dict[tuple[str, ...], list[int]] = {}
    for place, view in sorted(enumerate(views), key=lambda one: one[1].wide):
        places.setdefault(view.keys, []).append(place)
    for keys, numbers in places.items():
        asked = _answer(asked, keys, {n: views[n] for n in numbers}, cut_at_created=cut_at_created)
    if partitions is None:
        return asked.sort(ROW)
    home = f.shiftright(ROW, _ROWS_BITS).cast("int")
    return asked.repartitionById(partitions, home).sortWithinPartitions(ROW)


def _answer(
    asked: DataFrame, keys: tuple[str, ...], views: dict[int, AsOfView], *, cut_at_created: bool
) -> DataFrame:
    """Add the answers of views that share their key."""
    questions = asked.withColumns({_KNOWN: f.col(ASKED), _ASKS: f.lit(1)})
    told = [_told(place, keys, view, cut_at_created) for place, view in views.items()]
    # At equal times a view's row comes before the question: it is seen.
    past = Window.partitionBy(*keys or [f.lit(0)]).orderBy(_KNOWN, _ASKS)
    past = past.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    newest = {
        f"found_{place}": f.max_by(f"told_{place}", f"newness_{place}").over(past)
        for place in views
    }
    everything = reduce(
        lambda one, other: one.unionByName(other, allowMissingColumns=True), told, questions
    )
    answered = everything.withColumns(newest).where(f.col(_ASKS) == 1)
    answers = [column for place, view in views.items() for column in _answers(place, view)]
    return answered.select(*asked.columns, *answers)


def _told(place: int, keys: tuple[str, ...], view: AsOfView, cut_at_created: bool) -> DataFrame:
    """Return a view's rows with the time from when on each is seen."""
    complete = f.col(HELD).isNotNull()
    for number in range(len(keys)):
        complete &= f.col(f"key_{number}").isNotNull()
    known = f.col(HELD)
    if cut_at_created:
        complete &= f.col(CREATED).isNotNull()
        known = f.greatest(HELD, CREATED)
    features = [f.col(f"feature_{number}") for number in range(view.features)]
    return view.rows.where(complete).select(
        *(f.col(f"key_{number}").alias(name) for number, name in enumerate(keys)),
        known.alias(_KNOWN),
        f.lit(0).alias(_ASKS),
        f.struct(HELD, CREATED).alias(f"newness_{place}"),
        f.struct(HELD, *features).alias(f"told_{place}"),
    )


def _answers(place: int, view: AsOfView) -> list[Column]:
    """Return the features that were found, null where their row is too old."""
    found = f.col(f"found_{place}")
    answers = [found[f"feature_{number}"] for number in range(view.features)]
    if view.ttl:
        lived_us = view.ttl // timedelta(microseconds=1)
        fresh = f.col(ASKED) - found[HELD] <= lived_us
        answers = [f.when(fresh, answer) for answer in answers]
    return [answer.alias(f"answer_{place}_{number}") for number, answer in enumerate(answers)]
