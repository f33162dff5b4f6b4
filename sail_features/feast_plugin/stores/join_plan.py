"""Which columns of which views a join needs, whatever engine computes it, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.types import Array, Bytes, Float32, Float64

from sail_features import columns as c
from sail_features.feast_plugin.stores.join_errors import JoinInputError

_VECTORS: Final = (Bytes, Array(Float32), Array(Float64))


@dataclass(frozen=True)
class ViewRequest:
    """A view, and those of its features that are asked for."""

    view: FeatureView
    features: tuple[str, ...]
    full_names: bool

    @property
    def name(self) -> str:
        """What the view is called in this join."""
        return str(self.view.projection.name_to_use())

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' columns in the result."""
        prefix = self.view.projection.name_alias or self.view.name
        return tuple(f"{prefix}__{name}" if self.full_names else name for name in self.features)

    def source_of(self, column: str) -> str:
        """Return what the source calls a column."""
        mapping = self.view.batch_source.field_mapping or {}
        return next((old for old, new in mapping.items() if new == column), column)

    @property
    def times(self) -> tuple[str, str | None]:
        """The source's columns of when a row held and when it was created."""
        source = self.view.batch_source
        created = source.created_timestamp_column
        return self.source_of(source.timestamp_field), self.source_of(created) if created else None

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a key's column in the source and in the entity rows."""
        renamed = self.view.projection.join_key_map or {}
        return tuple(
            (self.source_of(column.name), renamed.get(column.name, column.name))
            for column in self.view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        )

    @property
    def returns_vectors(self) -> bool:
        """Whether a feature that is asked for may be an embedding."""
        kinds = {field.name: field.dtype for field in self.view.features}
        return any(kinds.get(name) in _VECTORS for name in self.features)


def view_requests(
    views: Sequence[FeatureView], references: Sequence[str], *, full_feature_names: bool
) -> list[ViewRequest]:
    """Return what is asked of each view, in the order of ``view:feature`` references."""
    requests = []
    for view in views:
        prefix = f"{view.projection.name_to_use()}:"
        asked = [name.removeprefix(prefix) for name in references if name.startswith(prefix)]
        if asked:
            requests.append(ViewRequest(view, tuple(asked), full_feature_names))
    return requests


def check_names(entity_columns: Sequence[str], requests: Sequence[ViewRequest]) -> None:
    """Raise `JoinInputError` where two columns of the result would have one name."""
    names = [*entity_columns, *(name for one in requests for name in one.columns)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise JoinInputError.columns_clash(repeated)


def check_encoders(requests: Sequence[ViewRequest]) -> None:
    """Raise where the vectors of two entities are of different encoders.

    A view says in its tag ``encoder_id`` whose vectors it holds; an entity may have
    those of several encoders, as long as the other has some of the same.

    Raises
    ------
    JoinInputError
        A user's and an item's vectors have no encoder in common.
    """
    encoders: dict[tuple[str, ...], dict[str, str]] = {}
    for request in requests:
        encoder = request.view.tags.get(c.ENCODER_ID)
        if encoder and request.returns_vectors:
            entity = tuple(sorted(request.view.join_keys))
            encoders.setdefault(entity, {})[request.name] = encoder
    for one, other in combinations(encoders.values(), 2):
        if not set(one.values()) & set(other.values()):
            raise JoinInputError.encoders_differ({**one, **other})
