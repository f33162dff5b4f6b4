"""The AUC lift of one embedding's match features over another's, in this process.

The kernels are those of the Spark jobs; what a job reads from tables is taken here from the
data set's own. Both arms have the same baseline columns; control's match features are of the
raw tower, treatment's of the trained encoder. The ranker trains on nothing before the
encoder's ``trained_until``, which is its warm-up's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ranking_eval import Arm, Artefact, Evaluation, Experiment, evaluate
from sail_features import columns as c
from sail_features.baseline.features import ITEM_COLUMNS, USER_COLUMNS
from sail_features.baseline.frame import (
    ITEM_TIME,
    NEWEST,
    compute_item_table,
    compute_user_table,
)
from sail_features.config import BaselineConfig, EvalConfig, HistoryConfig, MatchConfig
from sail_features.datasets.dataset import Dataset
from sail_features.embeddings import EmbeddingTable
from sail_features.history import HistoryWindow, codes_of, ids_of, times_of, to_us, us_of
from sail_features.match.family import build_features, columns_of
from sail_features.match.frame import compute_match_table
from sail_features.match.similarity_counts import count_on_grid
from sail_features.match.similarity_histogram import fit_edges

BASELINE: Final = (*USER_COLUMNS, *ITEM_COLUMNS)
HISTORY: Final = HistoryConfig()
MATCH: Final = MatchConfig()
PAIRS_SAMPLED: Final = 400_000
"""Pairs of events of one user that the histogram's edges are fitted on."""


@dataclass(frozen=True)
class Judge:
    """A data set's impressions with the baseline's columns.

    Parameters
    ----------
    trained_until : of all embeddings that are judged.
    config : its warm-up ends at ``trained_until``.
    """

    dataset: Dataset
    trained_until: datetime
    config: EvalConfig

    def lift(self, control: EmbeddingTable, treatment: EmbeddingTable) -> Evaluation:
        """Return how much the treatment's match features lift the ranker beyond control's."""
        frame, columns = self.join({"control": control, "treatment": treatment})
        experiment = Experiment(
            self.dataset.name,
            tuple(Arm(name, (*BASELINE, *own)) for name, own in columns.items()),
            eval=self.config,
            placebo=None,
            artefacts=(Artefact(treatment.encoder_id, self.trained_until),),
        )
        return evaluate(frame, experiment)

    def join(
        self, tables: Mapping[str, EmbeddingTable]
    ) -> tuple[pa.Table, dict[str, tuple[str, ...]]]:
        """Return the rows with the match features of each embedding, and those by its name."""
        frame, columns = self._frame, {}
        for name, table in tables.items():
            found = self._match(table)
            columns[name] = tuple(f"{name}__{column}" for column in found.column_names[3:])
            keyed = found.rename_columns([*KEY, *columns[name]])
            frame = frame.join(keyed, list(KEY))
        return frame.drop([MOMENT]), columns

    @cached_property
    def _frame(self) -> pa.Table:
        """The impressions with the baseline's columns and the moment they are seen from."""
        wanted = (c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL)
        shown = self.dataset.impressions.select(list(wanted))
        frame = shown.append_column(MOMENT, self._moments)
        rows = self._rows.join(self._attributes, c.ITEM_ID)
        feedback = self._feedback.join(self._attributes, c.ITEM_ID)
        for compute in (compute_user_table, compute_item_table):
            found = compute(rows, feedback, BaselineConfig()).drop([NEWEST])
            frame = frame.join(found.rename_columns([*KEY, *found.column_names[3:]]), list(KEY))
        return frame

    @cached_property
    def _moments(self) -> pa.Array:
        """When each impression looks back from: the lag before it was shown."""
        lag_us = round(HISTORY.lag_s * 1e6)
        return times_of(us_of(self.dataset.impressions[c.EVENT_TIMESTAMP]) - lag_us)

    @cached_property
    def _rows(self) -> pa.Table:
        """The distinct (user, item, moment) to compute features for."""
        shown = self.dataset.impressions.select([c.USER_ID, c.ITEM_ID])
        rows = shown.append_column(c.EVENT_TIMESTAMP, self._moments)
        return rows.group_by(list(c.PAIR)).aggregate([])

    @cached_property
    def _feedback(self) -> pa.Table:
        """The events, and what was really shown and passed over."""
        events = self.dataset.events.select([*c.PAIR, c.WEIGHT])
        if self.dataset.negatives != "logged":
            return events
        shown = self.dataset.impressions
        passed = shown.filter(pc.equal(shown[c.LABEL], 0)).select(list(c.PAIR))
        told = events.select(list(c.PAIR)).group_by(list(c.PAIR)).aggregate([])
        passed = passed.join(told, list(c.PAIR), join_type="left anti")
        weight = pa.scalar(HISTORY.unclicked_weight, pa.float32())
        passed = passed.append_column(c.WEIGHT, pa.repeat(weight, passed.num_rows))
        return pa.concat_tables([events, passed.select(events.column_names)])

    @cached_property
    def _attributes(self) -> pa.Table:
        items = self.dataset.items
        kinds = {c.CATEGORY: pa.string(), c.PRICE: pa.float32()}
        known = {
            name: items[name].cast(kind)
            if name in items.column_names
            else pa.nulls(items.num_rows, kind)
            for name, kind in kinds.items()
        }
        return pa.table({c.ITEM_ID: items[c.ITEM_ID], **known, ITEM_TIME: items[c.EVENT_TIMESTAMP]})

    def _match(self, table: EmbeddingTable) -> pa.Table:
        """Return user, item, moment and the match features of an embedding."""
        category = self._categories(table)
        features = build_features(MATCH, self._edges(table), categories=category is not None)
        window = HistoryWindow.from_config(HISTORY)
        found = compute_match_table(
            self._rows, self._feedback, table, features, window, category=category
        )
        return found.select([*c.PAIR, *columns_of(features)])

    def _categories(self, table: EmbeddingTable) -> NDArray[np.int64] | None:
        known = self._attributes.select([c.ITEM_ID, c.CATEGORY]).drop_null()
        if not known.num_rows:
            return None
        (code,) = codes_of(ids_of(known[c.CATEGORY]))
        categories = np.full(len(table), -1, np.int64)
        rows = table.rows_of(ids_of(known[c.ITEM_ID]))
        categories[rows[rows >= 0]] = code[rows >= 0]
        return categories

    def _edges(self, table: EmbeddingTable) -> tuple[float, ...]:
        """Fit the histogram's edges on events of one user before ``trained_until``."""
        events = self.dataset.events
        early = us_of(events[c.EVENT_TIMESTAMP]) < to_us(self.trained_until)
        (user,) = codes_of(ids_of(events[c.USER_ID]))
        row = table.rows_of(ids_of(events[c.ITEM_ID]))
        order = np.argsort(user[early], kind="stable")
        user, row = user[early][order], row[early][order]
        rng = np.random.default_rng(0)
        one = rng.integers(len(user), size=PAIRS_SAMPLED)
        other = np.minimum(one + rng.integers(1, 50, size=PAIRS_SAMPLED), len(user) - 1)
        alike = (user[one] == user[other]) & (row[one] != row[other])
        alike &= np.minimum(row[one], row[other]) >= 0
        first, second = (table.take(row[side[alike]]) for side in (one, other))
        similarity = np.einsum("ij,ij->i", first, second)
        return fit_edges(count_on_grid(similarity), MATCH.histogram_bins)


MOMENT: Final = "moment"
KEY: Final = (c.USER_ID, c.ITEM_ID, MOMENT)
