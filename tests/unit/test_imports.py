"""What importing the package loads, and who may import whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "pyspark", "feast", "mlflow", "lightgbm", "matplotlib")
NUMERIC = (
    "sail_features.embeddings",
    "sail_features.history",
    "sail_features.item_vectors",
    "sail_features.tables",
    "sail_features.baseline.frame",
    "sail_features.match.frame",
    "sail_features.encoders.catalogue",
    "sail_features.encoders.omni.settings",
    "sail_features.encoders.transformer_text",
    "sail_features.training.settings",
    "sail_features.testing.encoder_suite",
    "sail_features.testing.match_feature_suite",
)


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", ["sail_features", " , ".join(NUMERIC)])
def test_importing_loads_no_heavy_package(module):
    assert not loaded_by(f"import {module}") & set(HEAVY)


def test_import_contracts_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
