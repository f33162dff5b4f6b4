"""The result of a Spark query, handed out as Feast's contract asks."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkRetrievalJob
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage, ValidationReference
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame

from sail_features.feast_plugin.stores.exact_frames import to_exact_frame
from sail_features.feast_plugin.stores.parquet_files import (
    absolute,
    folder_of,
    replaced_when_complete,
)
from sail_features.feast_plugin.stores.spark_entities import for_spark

_EXISTS = "PATH_ALREADY_EXISTS"


class SailSparkRetrievalJob(SparkRetrievalJob):  # type: ignore[misc]  # Feast has no types
    """A data frame that has been checked and not yet computed.

    Parameters
    ----------
    rows : the result, before any on-demand view.
    on_demand : views that Feast computes of the result, on this machine.
    full_feature_names : whether columns are called ``view__feature``.
    metadata : what saved datasets remember.
    """

    def __init__(
        self,
        rows: DataFrame,
        config: RepoConfig,
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__(
            spark_session=rows.sparkSession,
            query="",
            full_feature_names=full_feature_names,
            config=config,
            on_demand_feature_views=list(on_demand),
            metadata=metadata,
        )
        self._rows = rows

    def to_spark_df(self) -> DataFrame:
        """Return the result as a Spark data frame, in the entity rows' order.

        With on-demand features, which Feast computes in memory, it is made of them.
        """
        if self.on_demand_feature_views:
            return self.spark_session.createDataFrame(for_spark(self.to_arrow()))
        return self._rows

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """Return the result as a DataFrame, as `exact_frames.to_exact_frame`."""
        return to_exact_frame(
            self.to_arrow(validation_reference=validation_reference, timeout=timeout)
        )

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result, on-demand features too, to a saved dataset's place.

        Spark writes a folder of Parquet files. On a mounted disk (Feast's file storage) it
        is put in place when it is complete; elsewhere Spark writes it where it shall be.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            Something is there, and ``allow_overwrite`` is off.
        """
        if isinstance(storage, SavedDatasetFileStorage):
            self._write_folder(storage.file_options.uri, allow_overwrite)
            return
        try:
            super().persist(storage, allow_overwrite, timeout)
        except AnalysisException as error:
            if error.getCondition() == _EXISTS:
                place = storage.spark_options.path
                raise SavedDatasetLocationAlreadyExists(location=place) from error
            raise

    def to_remote_storage(self) -> list[str]:
        """Write the result below ``staging_location``; return the Parquet files in its order."""
        return [path for path in sorted(super().to_remote_storage()) if path.endswith(".parquet")]

    def _write_folder(self, path: str, allow_overwrite: bool) -> None:
        place = absolute(path, folder_of(self._config))
        if os.path.exists(place) and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=place)
        with replaced_when_complete(place) as staged:
            self.to_spark_df().write.parquet(f"file://{staged}")

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._rows.toArrow()
