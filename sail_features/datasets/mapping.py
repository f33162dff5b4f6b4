"""``mapping.yaml``: which of a user's columns holds what.

A column that already has the contract's name need not be named; optional ones
are taken where they exist. Example::

    timezone: Europe/London
    items:
      item_id: sku
      text: [name, description]
      category: department
    events:
      user_id: customer
      item_id: sku
      event_timestamp: bought_at
      event_type: kind
      weights: {purchase: 1, return: -1}
    impressions:
      user_id: customer
      item_id: sku
      event_timestamp: shown_at
      label: clicked
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import ValidationError, field_validator, model_validator

from sail_features import columns as c
from sail_features.config import Section
from sail_features.datasets.timestamps import TimeRule, TimeUnit
from sail_features.errors import ConfigError, InputError


class ColumnNames(Section):
    """One table's part of the mapping: contract column to the user's column."""

    required: ClassVar[tuple[str, ...]] = ()

    def find_columns(self, existing: Sequence[str], *, where: str) -> dict[str, str]:
        """Return the user's column for each contract column that the table has.

        Parameters
        ----------
        existing : the columns of the user's table.
        where : its file, for the message.

        Raises
        ------
        InputError
            Named columns that aren't there, or a required one that is neither named
            nor there under its own name; the message lists all, and what exists.
        """
        named = {name: source for name, source in self if isinstance(source, str)}
        own = {name: name for name in type(self).model_fields if name in existing}
        found = own | named
        wanted = [*named.values(), *self._further_columns()]
        missing = [source for source in wanted if source not in existing]
        missing += [name for name in self.required if name not in found]
        if missing:
            raise InputError.columns_not_there(where, list(dict.fromkeys(missing)), existing)
        return found

    def _further_columns(self) -> tuple[str, ...]:
        return ()


class ItemColumns(ColumnNames):
    """Columns of the item table.

    ``event_timestamp``: when the content became known; items without one get the
    start of the log. ``text``: columns joined, in this order, to one text. ``tags``:
    a list, or text divided by ``|``. Paths are relative to the item file; a list of them
    is several files of one item, such as a video's frames.
    """

    required: ClassVar[tuple[str, ...]] = (c.ITEM_ID,)

    item_id: str | None = None
    event_timestamp: str | None = None
    title: str | None = None
    text: tuple[str, ...] = ()
    category: str | None = None
    price: str | None = None
    tags: str | None = None
    image_path: str | None = None
    audio_path: str | None = None

    @field_validator("text", mode="before")
    @classmethod
    def _allow_one_column(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def _further_columns(self) -> tuple[str, ...]:
        return self.text


class EventColumns(ColumnNames):
    """Columns of the event log.

    The signed weight of an event is a column (``weight``), or follows from its type
    (``weights``); without either every event counts 1. Without ``event_type`` all
    are called ``event``.
    """

    required: ClassVar[tuple[str, ...]] = (c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP)

    user_id: str | None = None
    item_id: str | None = None
    event_timestamp: str | None = None
    event_type: str | None = None
    weight: str | None = None
    weights: dict[str, float] | None = None

    @model_validator(mode="after")
    def _weigh_once(self) -> Self:
        if self.weight is not None and self.weights is not None:
            raise ValueError("give `weight` (a column) or `weights` (by event type), not both")
        return self


class ImpressionColumns(ColumnNames):
    """Columns of the impression log.

    Without ``request_id`` the impressions of one user at one time are one request.
    """

    required: ClassVar[tuple[str, ...]] = (c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL)

    request_id: str | None = None
    user_id: str | None = None
    item_id: str | None = None
    event_timestamp: str | None = None
    label: str | None = None
    position: str | None = None
    propensity: str | None = None


class Mapping(Section):
    """The whole of ``mapping.yaml``.

    ``timezone``: IANA zone of times that have none. ``time_unit``: unit of times
    that are numbers. ``time_format``: strptime pattern of times that are text other
    than ISO 8601.
    """

    timezone: str | None = None
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    items: ItemColumns = ItemColumns()
    events: EventColumns = EventColumns()
    impressions: ImpressionColumns = ImpressionColumns()

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(f"no time zone is called {value!r}") from error
        return value

    @property
    def names_a_column(self) -> bool:
        """Whether any column is named at all."""
        sections = (self.items, self.events, self.impressions)
        return any(section.model_fields_set for section in sections)

    @property
    def time_rule(self) -> TimeRule:
        """How the user's files state their times."""
        return TimeRule(self.timezone, self.time_unit, self.time_format)


def load_mapping(path: Path) -> Mapping:
    """Read and validate one ``mapping.yaml``.

    Raises
    ------
    ConfigError
        No such file, invalid YAML, an unknown key or time zone.
    """
    if not path.is_file():
        raise ConfigError.unreadable(path, "no such file")
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Mapping.model_validate(raw)
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError.unreadable(path, error) from error
