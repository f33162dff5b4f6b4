"""A compute engine to name in ``feature_store.yaml`` by its class path."""
