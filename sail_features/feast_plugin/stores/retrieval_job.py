"""The result of a query, read in batches of rows and handed out as Feast's contract asks.

Only `to_arrow` and `to_df` hold a whole result in memory; files are written from
batches, so that a result may be larger than that.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import duckdb
import pandas as pd
import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores import duckdb as feast_duckdb
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage, ValidationReference

from sail_features.feast_plugin.stores.exact_frames import to_exact_frame
from sail_features.feast_plugin.stores.join_errors import JoinResultError
from sail_features.feast_plugin.stores.parquet_files import absolute, write_folder, write_parquet
from sail_features.feast_plugin.stores.sources import is_local_parquet
from sail_features.feast_plugin.stores.wide_columns import WideColumns, put_in

ROWS_A_BATCH: Final = 65_536


class SailRetrievalJob(RetrievalJob):  # type: ignore[misc]  # Feast has no types
    """A query of DuckDB that has been checked and not yet run.

    Parameters
    ----------
    con : database that ``sql`` runs in; kept as long as the job.
    sql : the features in the entity rows' order, or all columns where there are none.
    names : of the columns that ``sql`` gives.
    folder : the repository's, where relative paths start.
    entities : rows to put before the features, as they were given.
    wide : what to put in the place of columns of the answer, by their number.
    on_demand : views that Feast computes of the result.
    full_feature_names : whether columns are called ``view__feature``.
    metadata : what saved datasets remember.
    staging : folder or address below which `to_remote_storage` writes, and the
        endpoint of an S3-like service.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        sql: str,
        names: Sequence[str],
        *,
        folder: str,
        entities: pa.Table | None = None,
        wide: Mapping[int, WideColumns] | None = None,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
        staging: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self._con = con
        self._sql = sql
        self._names = list(names)
        self._folder = folder
        self._entities = entities
        self._wide = wide or {}
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._metadata = metadata
        self._staging = staging

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are called ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes of the result."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for, and between which times."""
        return self._metadata

    def to_sql(self) -> str:
        """Return the query; its tables live in the job's own database, wide columns beside it."""
        return self._sql

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """Return the result as a DataFrame.

        As in all of Feast, whole numbers beside nulls become float64; where that would
        change one of them (beyond 2^53), the column is Int64.
        """
        return to_exact_frame(
            self.to_arrow(validation_reference=validation_reference, timeout=timeout)
        )

    def read_batches(
        self, rows: int = ROWS_A_BATCH, *, encoded: bool = False
    ) -> pa.RecordBatchReader:
        """Run the query; return at most so many rows a batch, before any on-demand view.

        ``encoded``: wide columns as dictionaries, each value once.
        """
        answers = self._con.cursor().execute(self._sql).to_arrow_reader(rows)
        if self._entities is None:
            schema = pa.schema(
                field.with_name(name)
                for field, name in zip(answers.schema, self._names, strict=True)
            )
            renamed = (pa.RecordBatch.from_arrays(one.columns, schema=schema) for one in answers)
            return pa.RecordBatchReader.from_batches(schema, renamed)
        return _beside(self._entities, answers, self._names, self._wide, encoded)

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result, on-demand features too, to a saved dataset's place.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            Something is there, and ``allow_overwrite`` is off.
        """
        source = storage.to_data_source()
        if not is_local_parquet(source, self._folder):
            import ibis  # type: ignore[import-untyped]

            rows = ibis.memtable(self.to_arrow(timeout=timeout))
            feast_duckdb._write_data_source(
                rows, source, self._folder, "overwrite", allow_overwrite
            )
            return
        path = absolute(source.path, self._folder)
        if os.path.exists(path) and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=path)
        write_parquet(self._all_batches(timeout, encoded=True), path)

    def supports_remote_storage_export(self) -> bool:
        """Tell whether ``staging_location`` is configured."""
        return self._staging[0] is not None

    def to_remote_storage(self) -> list[str]:
        """Write the result below ``staging_location``; return the files' paths."""
        location, endpoint = self._staging
        place = absolute(f"{location}/{uuid.uuid4()}", self._folder)
        filesystem, path = FileSource.create_filesystem_and_path(place, endpoint or "")
        files = write_folder(self._all_batches(), path, filesystem=filesystem)
        return [f"s3://{file}" if place.startswith("s3://") else file for file in files]

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.read_batches().read_all()

    def _all_batches(
        self, timeout: int | None = None, *, encoded: bool = False
    ) -> pa.RecordBatchReader:
        if self._on_demand:
            return self.to_arrow(timeout=timeout).to_reader()
        return self.read_batches(encoded=encoded)


def _beside(
    entities: pa.Table,
    answers: pa.RecordBatchReader,
    names: Sequence[str],
    wide: Mapping[int, WideColumns],
    encoded: bool,
) -> pa.RecordBatchReader:
    """Return the entity rows with the answers beside them, whose first column is the row."""
    schema = entities.schema
    nothing = pa.RecordBatch.from_pylist([], answers.schema)
    for column, name in zip(put_in(nothing, wide, encoded=encoded)[1:], names, strict=True):
        schema = schema.append(pa.field(name, column.type))

    def batches() -> Iterator[pa.RecordBatch]:
        done = 0
        for answer in answers:
            rows = entities.slice(done, answer.num_rows).combine_chunks()
            if rows.num_rows != answer.num_rows:
                raise JoinResultError.rows_differ(done + answer.num_rows, entities.num_rows)
            columns = [column.chunk(0) for column in rows.columns]
            features = put_in(answer, wide, encoded=encoded)[1:]
            yield pa.RecordBatch.from_arrays([*columns, *features], schema=schema)
            done += answer.num_rows
        if done != entities.num_rows:
            raise JoinResultError.rows_differ(done, entities.num_rows)

    return pa.RecordBatchReader.from_batches(schema, batches())
