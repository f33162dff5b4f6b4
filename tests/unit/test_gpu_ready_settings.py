"""The settings and the discovery script of `jobs/conf/`, tried with a fake nvidia-smi."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from sail_features.config import load_config
from sail_features.spark import gpu_check
from sail_features.spark.gpu import gpu_requests
from sail_features.spark.gpu_check import check_gpu_settings

CONF = Path(__file__).parents[2] / "jobs" / "conf"
FILES = sorted(CONF.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ready_settings_load_and_pass(path, monkeypatch):
    monkeypatch.setattr(gpu_check, "discover_gpus", lambda script: frozenset("01"))
    monkeypatch.setenv("SPARK_MASTER_WEBUI_PORT", "9")  # where no master answers
    spark = load_config(path).spark
    requests = gpu_requests(spark, spark.master)
    check_gpu_settings({**requests, **spark.conf}, spark.master)
    assert bool(requests) == (path.stem != "local")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_ready_setting_has_its_reason(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    for before, line in pairwise(lines):
        if not line.startswith(("#", "spark:", "gpu:", "conf:")):
            assert " # " in line or before.startswith("# "), line


NO_MIG = "GPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)"
MIG = "GPU 0: NVIDIA H200 (UUID: GPU-1)\n  MIG 1g.18gb Device 0: (UUID: MIG-5c1e)"


@pytest.mark.parametrize(
    ("listed", "indices", "visible", "found"),
    [
        (NO_MIG, "0\n1", None, ["0", "1"]),
        (MIG, "0", None, ["MIG-5c1e"]),
        (NO_MIG, "0\n1", "1", ["1"]),
        (NO_MIG, "0\n1", "GPU-2, MIG-5c1e", ["GPU-2", "MIG-5c1e"]),
        (NO_MIG, "0\n1", "", []),
        ("No devices found", "No devices were found", None, []),
    ],
)
def test_ready_script_prints_what_cuda_would_see(tmp_path, listed, indices, visible, found):
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\nif [ $1 = -L ]; then echo '{listed}'; else echo '{indices}'; fi\n")
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    run = subprocess.run(
        [CONF / "discover_gpus.sh"], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == {"name": "gpu", "addresses": found}
