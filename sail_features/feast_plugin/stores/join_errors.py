"""What can be wrong with a historical join, said before any row is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from sail_features.errors import InputError, SailError, show

ENTITY_FRAME = "entity frame"


class JoinInputError(InputError):
    """An entity frame, a view or its files can't be joined."""

    @classmethod
    def no_frame(cls, got: object) -> Self:
        """Build the error for an entity frame of a kind that nothing here reads."""
        return cls.say(
            ENTITY_FRAME,
            f"is {type(got).__name__}, expected rows to join features to",
            hint="give a pandas DataFrame, an Arrow table, a SELECT, or the path of Parquet files",
        )

    @classmethod
    def frame_unreadable(cls, reason: object) -> Self:
        """Build the error for a frame that can't become an Arrow table."""
        return cls.say(
            ENTITY_FRAME, f"can't be read: {reason}", hint="give one type of value a column"
        )

    @classmethod
    def no_timestamp(cls, columns: Sequence[str], times: Sequence[str]) -> Self:
        """Build the error for a frame that doesn't say as of when its rows are asked."""
        found = f"{len(times)} columns of times ({', '.join(times)})" if times else "no times"
        return cls.say(
            ENTITY_FRAME,
            f"no column 'event_timestamp', and {found} among {', '.join(columns) or 'no columns'}",
            hint="name the column of the rows' times event_timestamp",
        )

    @classmethod
    def not_a_time(cls, column: str, got: object) -> Self:
        """Build the error for times that are text or numbers."""
        return cls.say(
            ENTITY_FRAME,
            f"column {column!r} is {got}, expected timestamps with a time zone",
            hint=f"convert it: pandas.to_datetime(frame[{column!r}], utc=True)",
        )

    @classmethod
    def zone_missing(cls, column: str) -> Self:
        """Build the error for times that could mean any zone."""
        return cls.say(
            ENTITY_FRAME,
            f"column {column!r} has times without a time zone",
            hint="give them their zone: dt.tz_localize in pandas, TIMESTAMPTZ in SQL",
        )

    @classmethod
    def zones_mixed(cls, column: str, zones: Sequence[object]) -> Self:
        """Build the error for times of several zones in one column."""
        return cls.say(
            ENTITY_FRAME,
            f"column {column!r} mixes time zones: {show(zones)}",
            hint=f"bring them to one: pandas.to_datetime(frame[{column!r}], utc=True); or, for"
            " times that all have a zone, set mixed_zones: utc at offline_store",
        )

    @classmethod
    def times_missing(cls, column: str, count: int, rows: int) -> Self:
        """Build the error for rows that have no time."""
        return cls.say(
            ENTITY_FRAME,
            f"column {column!r} is null in {count} of {rows} rows",
            hint="drop these rows: without a time, nothing can be known as of it",
        )

    @classmethod
    def key_missing(cls, view: str, column: str, existing: Sequence[str]) -> Self:
        """Build the error for a join key that the frame lacks."""
        return cls.say(
            ENTITY_FRAME,
            f"no column {column!r}, which view {view!r} is keyed by; it has {', '.join(existing)}",
            hint=f"add {column!r}, or map the key with view.with_join_key_map",
        )

    @classmethod
    def key_types_differ(cls, view: str, column: str, got: object, expected: object) -> Self:
        """Build the error for ids that can't equal those of the view."""
        return cls.say(
            ENTITY_FRAME,
            f"column {column!r} is {got}, but {expected} in the source of view {view!r}",
            hint="give ids of the same type; pandas holds whole numbers beside nulls as Int64",
        )

    @classmethod
    def columns_clash(cls, names: Sequence[str]) -> Self:
        """Build the error for two columns of a result that would have one name."""
        return cls.say(
            "feature join",
            f"the result would have these columns more than once: {show(names)}",
            hint="ask with full_feature_names=True, and rename the entity frame's own columns",
        )

    @classmethod
    def no_files(cls, source: str, path: str) -> Self:
        """Build the error for a source whose files aren't there."""
        return cls.say(
            f"source {source!r}",
            f"no Parquet file at {path}",
            hint="run the job that writes it, or correct the path and apply again",
        )

    @classmethod
    def source_unreadable(cls, source: str, reason: object) -> Self:
        """Build the error for a source that the engine can't open."""
        return cls.say(
            f"source {source!r}",
            f"can't be read: {reason}",
            hint="correct its path, table or query, and apply again",
        )

    @classmethod
    def source_of_another_kind(cls, source: str, got: object, readable: str) -> Self:
        """Build the error for a source that belongs to another offline store."""
        return cls.say(
            f"source {source!r}",
            f"is {got}, which this offline store doesn't read",
            hint=f"declare the view on {readable}",
        )

    @classmethod
    def zone_of_session(cls, source: str, column: str, got: object, zone: str) -> Self:
        """Build the error for times that Spark would shift by its session's zone."""
        return cls.say(
            f"source {source!r}",
            f"column {column!r} is {got}, without a time zone, and Spark's is {zone}",
            hint="set spark.sql.session.timeZone to UTC, or store timestamps with a zone",
        )

    @classmethod
    def not_in_source(cls, source: str, columns: Sequence[str], existing: Sequence[str]) -> Self:
        """Build the error for a view that declares what its files don't hold."""
        return cls.say(
            f"source {source!r}",
            f"no column {show(columns)}; it has {', '.join(existing)}",
            hint="write the table again, or apply the repository again",
        )

    @classmethod
    def encoders_differ(cls, encoders: Mapping[str, str]) -> Self:
        """Build the error for vectors that must not be compared with each other."""
        found = [f"{view} of {encoder}" for view, encoder in encoders.items()]
        return cls.say(
            "feature join",
            f"vectors of different encoders: {show(found)}; their similarities mean nothing",
            hint="compute both tables with one encoder, and apply the repository again",
        )

    @classmethod
    def not_writable(cls, path: str) -> Self:
        """Build the error for rows sent to files that a job owns."""
        return cls.say(
            path,
            "is a pattern over partitions, into which rows can't be pushed",
            hint="run the job that writes the table, or declare a source of one file or folder",
        )

    @classmethod
    def columns_differ(cls, path: str, got: Sequence[str], expected: Sequence[str]) -> Self:
        """Build the error for rows whose columns aren't those of the file."""
        return cls.say(
            path,
            f"got columns {', '.join(got)}, expected {', '.join(expected)}",
            hint="give exactly these columns, in this order",
        )


class JoinResultError(SailError, RuntimeError):
    """A join gave something other than one row for each entity row."""

    @classmethod
    def rows_differ(cls, got: int, expected: int) -> Self:
        """Build the error for rows that were lost or doubled on the way."""
        return cls.say(
            "feature join",
            f"gave {got} rows for {expected} entity rows",
            hint="ask again; if it happens again, report it with the entity frame",
        )
