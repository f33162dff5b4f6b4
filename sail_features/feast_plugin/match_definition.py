"""What a table of match features was computed with: all that a server needs to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from sail_features.config import HistoryConfig, MatchConfig
from sail_features.errors import ConfigError, InputError
from sail_features.history import HistoryWindow
from sail_features.manifest import Manifest
from sail_features.match.block import MatchFeature
from sail_features.match.events import event_types_of
from sail_features.match.family import build_features, feature_set_id
from sail_features.schemas import USER_INTEREST, USER_ITEM_MATCH
from sail_features.tables import TableStore


class MatchDefinition(BaseModel):
    """The encoder, the features, the history and the fitted edges of one partition.

    It travels as JSON in the on-demand view, so numbers keep all their bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: Path
    """Where the tables lay when the view was applied; ``SAIL_CONFIG`` goes first."""
    encoder_id: str
    feature_set_id: str
    history: HistoryConfig
    match: MatchConfig
    edges: tuple[float, ...] | None
    categories: bool
    interest_dim: int | None
    """Length of a mined interest's vector; None where interests aren't matched."""

    @classmethod
    def of_newest(cls, tables: TableStore) -> Self | None:
        """Return the definition of the newest match partition, None where it states none.

        Raises
        ------
        MissingTableError
            No match is computed yet.
        InputError
            This version of the package defines the features otherwise, or the interests
            that they are matched with are another encoder's.
        ConfigError
            A feature of one type of event, which ``user_history`` doesn't tell apart.
        """
        manifest = tables.latest(USER_ITEM_MATCH.name)
        if "match" not in manifest.config:
            return None
        lineage = manifest.lineage
        definition = cls(
            tables=tables.root,
            encoder_id=lineage["encoder_id"],
            feature_set_id=lineage["feature_set_id"],
            history=HistoryConfig.model_validate(manifest.config["history"]),
            match=MatchConfig.model_validate(manifest.config["match"]),
            edges=lineage["histogram_edges"],
            categories="category_match" in lineage["features"],
            interest_dim=(
                _interest_dim(tables, lineage["encoder_id"])
                if "interest_match" in lineage["features"]
                else None
            ),
        )
        definition._check(manifest)
        return definition

    @property
    def features(self) -> tuple[MatchFeature, ...]:
        """The features, in the order of the table's columns."""
        return build_features(
            self.match,
            self.edges,
            categories=self.categories,
            interests=self.interest_dim is not None,
        )

    @property
    def window(self) -> HistoryWindow:
        """How far back they look."""
        return HistoryWindow.from_config(self.history)

    def _check(self, manifest: Manifest) -> None:
        where = f"user_item_match of {manifest.as_of:%Y-%m-%d}"
        here = feature_set_id(self.features, self.match.dim)
        if here != self.feature_set_id:
            raise InputError.say(
                where,
                f"holds feature set {self.feature_set_id}, this version would serve {here}",
                hint="run `sail-features match` again, then `feast apply`",
            )
        types = event_types_of(self.features)
        if types:
            raise ConfigError.say(
                where,
                f"has features of the event types {', '.join(types)}, which user_history "
                "doesn't tell apart: they can't be served",
                hint="leave match.event_types empty, or take the on-demand view out of views.py",
            )


def _interest_dim(tables: TableStore, encoder_id: str) -> int:
    """Return the length of the mined vectors, if they are of the items' encoder."""
    lineage = tables.latest(USER_INTEREST.name).lineage
    if lineage["encoder_id"] != encoder_id:
        raise InputError.say(
            USER_INTEREST.name,
            f"is by encoder {lineage['encoder_id']}, user_item_match by {encoder_id}",
            hint="run `sail-features interests` and `sail-features match` again",
        )
    return int(lineage["dim"])
