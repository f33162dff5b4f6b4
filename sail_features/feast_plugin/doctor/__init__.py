"""Whether a feature store joins, keeps and serves what a ranker needs: `examine`.

Each probe writes a few rows whose right answer is obvious, asks the offline store
that ``feature_store.yaml`` names, and compares. Tables, registry and online store are
the doctor's own, in a temporary folder; the user's aren't touched.
"""

from sail_features.feast_plugin.doctor.examine import Finding, examine, findings_table

__all__ = ["Finding", "examine", "findings_table"]
