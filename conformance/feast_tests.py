"""Points Feast's universal test suite at our offline stores.

The suite isn't in Feast's wheel, so it needs Feast's source, of the same version:

    git clone --depth 1 --branch v0.67.0 https://github.com/feast-dev/feast && cd feast
    pip install -e 'sdk/python[ci]' && pip install -e ../sail-features
    PYTHONPATH=sdk/python:../sail-features/conformance \
        FULL_REPO_CONFIGS_MODULE=feast_tests \
        pytest --integration sdk/python/tests/integration/offline_store

The suite asks for rows that were created after the entity's time, as Feast does unless
told otherwise, so the cut is off here. Entity frames without time zones are refused
where Feast doesn't set one; such tests fail, by intention.
"""

from feast.infra.offline_stores.contrib.spark_offline_store.tests.data_source import (
    SparkDataSourceCreator,
)
from tests.universal.feature_repos.universal.data_sources.file import FileDataSourceCreator

from sail_features.feast_plugin.stores.duckdb_store import SailDuckDBOfflineStoreConfig
from sail_features.feast_plugin.stores.spark_store import SailSparkOfflineStoreConfig


class SailDuckDBDataSourceCreator(FileDataSourceCreator):
    """Feast's Parquet sources, read by our store."""

    def create_offline_store_config(self) -> SailDuckDBOfflineStoreConfig:
        """Return the settings of the store under test."""
        return SailDuckDBOfflineStoreConfig(filter_by_created_timestamp=False)


class SailSparkDataSourceCreator(SparkDataSourceCreator):
    """Feast's Spark tables, read by our store."""

    def create_offline_store_config(self) -> SailSparkOfflineStoreConfig:
        """Return the settings of the store under test, Spark's being those of Feast's suite."""
        return SailSparkOfflineStoreConfig(
            filter_by_created_timestamp=False, spark_conf=self.spark_conf
        )


AVAILABLE_OFFLINE_STORES = [
    ("local", SailDuckDBDataSourceCreator),
    ("local", SailSparkDataSourceCreator),
]
AVAILABLE_ONLINE_STORES = {"sqlite": ({"type": "sqlite"}, None)}
