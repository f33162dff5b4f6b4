"""Offline stores to name in ``feature_store.yaml`` by their class path: on DuckDB and on Spark."""
