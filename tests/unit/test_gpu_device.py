"""What the encode stage asks for, and from the address that it gets to torch's device."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from sail_features.config import GpuConfig, SparkConfig
from sail_features.errors import ConfigError
from sail_features.spark.gpu import device_of_address, device_of_task, encode_profile


@pytest.mark.parametrize(
    ("address", "visible", "device"),
    [
        ("0", None, "cuda:0"),
        ("5", None, "cuda:5"),
        ("3", "2, 3", "cuda:1"),
        ("GPU-8932", None, "cuda:0"),
        ("MIG-77ab", "MIG-5c1e,MIG-77ab", "cuda:0"),
        ("MIG-77ab", "MIG-77ab", "cuda:0"),
    ],
)
def test_address_becomes_the_device_that_cuda_counts(address, visible, device):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert device_of_address(address, environment) == device
    # A name stays pinned, and so means the same in the worker's next task.
    assert device_of_address(address, environment) == device


@pytest.mark.parametrize(
    ("address", "visible"), [("1", "0"), ("0", ""), ("MIG-77ab", "MIG-5c1e"), ("GPU-1", "0,1")]
)
def test_device_that_the_worker_cant_see_is_an_error(address, visible):
    environment = {"CUDA_VISIBLE_DEVICES": visible}
    with pytest.raises(ConfigError, match=f"GPU '{address}': Spark offered it"):
        device_of_address(address, environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": visible}


def test_name_cant_be_pinned_once_cuda_runs(monkeypatch):
    started = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "torch", started)
    environment = {}
    with pytest.raises(ConfigError, match="sees only"):
        device_of_address("MIG-5c1e", environment)
    assert environment == {}
    assert device_of_address("1", environment) == "cuda:1"


def test_outside_a_task_there_is_no_device():
    device, reason = device_of_task()
    assert device == "cpu"
    assert "no Spark task" in reason


def test_module_does_not_load_torch():
    code = "import sail_features.spark.gpu, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def session(master, **conf):
    """Return what `encode_profile` reads of a session, without starting one."""
    settings = SimpleNamespace(getAll=lambda: list(conf.items()))
    return SimpleNamespace(sparkContext=SimpleNamespace(master=master, getConf=lambda: settings))


STAGE_LEVEL = SparkConfig(gpu=GpuConfig(per_executor=1, stage_level=True))


@pytest.mark.parametrize(
    "gpu", [GpuConfig(), GpuConfig(stage_level=True), GpuConfig(per_executor=1)]
)
def test_static_settings_and_none_need_no_profile(gpu):
    assert encode_profile(session("yarn"), SparkConfig(gpu=gpu)) is None


@pytest.mark.parametrize(
    ("master", "reason"),
    [("local[2]", "there are no executors"), ("yarn", "the executors own no GPU")],
)
def test_profile_that_spark_would_refuse_is_refused_with_the_reason(master, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        encode_profile(session(master), STAGE_LEVEL)
    assert caught.value.exit_code == 2
