"""A feature store of the doctor's own, with the offline store of somebody's repository."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from feast import BatchFeatureView, Entity, FeatureStore, FeatureView, Field, FileSource
from feast.data_source import DataSource
from feast.repo_config import RepoConfig
from feast.types import Int64
from feast.value_type import ValueType

from sail_features.errors import ConfigError
from sail_features.feast_plugin.store import STORE_CONFIG

USER: Final = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
ITEM: Final = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
_FILE_READERS: Final = frozenset({"DaskOfflineStore", "DuckDBOfflineStore"})
_SPARK: Final = "SparkOfflineStore"
_SPARK_ENGINE: Final = "SparkComputeEngine"
_STAMPS: Final = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created"}


def at(hour: float) -> datetime:
    """Return a time of the day on which everything in the probes happens."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=hour)


class ProbeStore:
    """Tables and views of one examination.

    Parameters
    ----------
    repo : folder whose ``feature_store.yaml`` names the stores to examine.
    folder : empty; gets the tables, a registry of the same kind, an online store.

    Raises
    ------
    ConfigError
        There is no such file, or its offline store reads no Parquet files.
    """

    def __init__(self, repo: Path, folder: Path) -> None:
        self._folder = folder
        self._settings = _read_settings(repo / STORE_CONFIG)
        # Feast starts Spark with the python of the path, which may lack what is needed.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        self.feast = self.open()
        kinds = {kind.__name__ for kind in type(self.feast._get_provider().offline_store).__mro__}
        if not kinds & {*_FILE_READERS, _SPARK}:
            raise ConfigError.say(
                str(repo / STORE_CONFIG),
                f"offline store {self.offline_store} reads no Parquet files, "
                "and the probes are Parquet files",
                hint="examine a store of the kinds dask, duckdb or spark",
            )
        self._is_spark = _SPARK in kinds
        self.feast.apply([USER, ITEM])

    @property
    def offline_store(self) -> str:
        """The type of the store that is examined."""
        return str(self.feast.config.offline_store.type)

    def open(self) -> FeatureStore:
        """Open the doctor's store once more, with a registry read anew."""
        path = f"{self._folder}/registry.db"
        named = self._settings.get("registry")
        is_sql = isinstance(named, dict) and named.get("registry_type") == "sql"
        registry = (
            {"registry_type": "sql", "path": f"sqlite:///{path}"} if is_sql else {"path": path}
        )
        settings = {
            **self._settings,
            "project": "doctor",
            "registry": registry,
            "online_store": {"type": "sqlite", "path": str(self._folder / "online.db")},
        }
        return FeatureStore(config=RepoConfig(**settings, repo_path=self._folder))

    def declare(
        self,
        name: str,
        entities: Sequence[Entity],
        rows: Sequence[dict[str, Any]],
        ttl: timedelta = timedelta(0),
    ) -> None:
        """Write a view's table and register it; ``rows`` are made with `stamped`."""
        source = self._source(name, str(self._write(name, rows)))
        self.feast.apply([FeatureView(name=name, entities=list(entities), source=source, ttl=ttl)])

    def _write(self, name: str, rows: Sequence[dict[str, Any]]) -> Path:
        table = pa.Table.from_pylist(list(rows))
        for column in ("event_timestamp", "created"):
            times = table[column].cast(pa.timestamp("us", "UTC"))
            table = table.set_column(table.column_names.index(column), column, times)
        path = self._folder / f"{name}.parquet"
        pq.write_table(table, path)
        return path

    @property
    def folder(self) -> Path:
        """Where the doctor keeps its tables."""
        return self._folder

    @property
    def has_spark_engine(self) -> bool:
        """Whether Spark computes what is materialized."""
        engine = self.feast._get_provider().batch_engine
        return _SPARK_ENGINE in {kind.__name__ for kind in type(engine).__mro__}

    def declare_computed(
        self, name: str, entities: Sequence[Entity], rows: Sequence[dict[str, Any]], encode: Any
    ) -> None:
        """Register a view of what ``encode`` makes of the texts in a table, kept in a sink."""
        from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

        raw = self._write(f"raw_{name}", rows)
        source = SparkSource(
            name=name,
            query=f"SELECT * FROM parquet.`{raw}`",  # noqa: S608  # the doctor's own path
            path=str(self._folder / name),
            file_format="parquet",
            **_STAMPS,
        )
        view = BatchFeatureView(
            name=name,
            entities=list(entities),
            schema=[Field(name="length", dtype=Int64)],
            source=source,
            udf=encode,
            udf_string="",
            online=True,
            offline=True,
            tags={"content_columns": "text", "encoder_id": "doctor"},
        )
        self.feast.apply([view])

    def join(self, rows: Sequence[dict[str, Any]], feature: str, **options: Any) -> pd.DataFrame:
        """Return what Feast joins to entity rows, given as a DataFrame."""
        asked = pd.DataFrame(list(rows))
        job = self.feast.get_historical_features(asked, [feature], **options)
        joined: pd.DataFrame = job.to_df()
        return joined

    def _source(self, name: str, path: str) -> DataSource:
        if not self._is_spark:
            return FileSource(name=name, path=path, **_STAMPS)
        from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

        return SparkSource(name=name, path=path, file_format="parquet", **_STAMPS)


def stamped(hour: float, created: float | None = None, **columns: Any) -> dict[str, Any]:
    """Return a row that held from ``hour`` and was created then or at ``created``."""
    known = at(hour if created is None else created)
    return {**columns, "event_timestamp": at(hour), "created": known}


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError.say(
            str(path), "no such file", hint="give the folder of a feature repository"
        )
    settings: dict[str, Any] = yaml.safe_load(os.path.expandvars(path.read_text("utf-8")))
    return settings
