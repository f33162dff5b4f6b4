"""GPU settings: what is asked of Spark, and what is refused before it starts.

No cluster is started here; `tests/integration/test_spark_gpu.py` does. Discovery scripts
and the master's status page are fakes.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from sail_features.config import GpuConfig, SparkConfig
from sail_features.errors import ConfigError
from sail_features.spark import gpu_check
from sail_features.spark.gpu import gpu_requests, gpu_settings
from sail_features.spark.gpu_check import check_gpu_settings, discover_gpus

EXECUTOR = "spark.executor.resource.gpu.amount"
TASK = "spark.task.resource.gpu.amount"
WORKER = "spark.worker.resource.gpu.amount"
WORKER_SCRIPT = "spark.worker.resource.gpu.discoveryScript"
SCRIPT = "spark.executor.resource.gpu.discoveryScript"
VENDOR = "spark.executor.resource.gpu.vendor"
CLUSTER = "local-cluster[1,2,2048]"
STANDALONE = "spark://127.0.0.1:7077"


def script(folder, body, *, mode=0o755):
    path = folder / "fake_gpus.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return str(path)


@pytest.fixture
def two_gpus(tmp_path):
    return script(tmp_path, """echo '{"name": "gpu", "addresses": ["0", "1"]}'""")


@pytest.fixture(autouse=True)
def _no_master(monkeypatch):
    """Let nothing answer as a master's status page (port 9, discard)."""
    monkeypatch.setenv("SPARK_MASTER_WEBUI_PORT", "9")


def refusal(conf, master):
    with pytest.raises(ConfigError) as caught:
        check_gpu_settings(conf, master)
    assert caught.value.exit_code == 2
    return str(caught.value)


# What is asked for.


def test_nothing_is_asked_for_by_default():
    assert gpu_settings(SparkConfig(), CLUSTER) == {}
    check_gpu_settings({}, "local[2]")


def test_static_settings_name_executors_tasks_and_the_workers_that_spark_starts():
    gpu = GpuConfig(per_executor=1, per_task=0.5, discovery_script="/g.sh")
    assert gpu_settings(SparkConfig(gpu=gpu), CLUSTER) == {
        EXECUTOR: "1",
        TASK: "0.5",
        WORKER: "1",
        WORKER_SCRIPT: "/g.sh",
        "spark.executorEnv.CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


@pytest.mark.parametrize(
    ("master", "added"),
    [
        ("yarn", {SCRIPT: "/g.sh"}),
        ("k8s://https://host:6443", {SCRIPT: "/g.sh", VENDOR: "nvidia.com"}),
        ("spark://host:7077", {SCRIPT: "/g.sh"}),
    ],
)
def test_executors_elsewhere_discover_their_own(master, added):
    gpu = GpuConfig(per_executor=1, discovery_script="/g.sh")
    assert gpu_requests(SparkConfig(gpu=gpu), master) == {EXECUTOR: "1", TASK: "1", **added}


@pytest.mark.parametrize(("dynamic", "executors"), [("false", True), ("true", False)])
def test_stage_level_leaves_amounts_to_the_profile(dynamic, executors):
    gpu = GpuConfig(per_executor=1, discovery_script="/g.sh", stage_level=True)
    config = SparkConfig(gpu=gpu, conf={"spark.dynamicAllocation.enabled": dynamic})
    settings = gpu_settings(config, "yarn")
    assert TASK not in settings
    assert (EXECUTOR in settings) == (SCRIPT in settings) == executors


@pytest.mark.parametrize("wrong", [{"per_task": 2}, {"per_task": 0}, {"per_executor": -1}])
def test_share_of_no_or_more_than_one_device_is_no_configuration(wrong):
    with pytest.raises(ValidationError):
        GpuConfig(**wrong)


# What is refused.


@pytest.mark.parametrize("master", ["local", "local[2]", "local[*]", "local[2,4]"])
@pytest.mark.parametrize("key", [EXECUTOR, TASK])
def test_amount_in_local_mode_is_refused(master, key):
    message = refusal({key: "1"}, master)
    assert message.startswith(f"{key}: under {master!r} Spark offers no GPU")
    assert "for ever" in message
    assert "local-cluster" in message


@pytest.mark.parametrize("amount", ["1.5", "0", "-1", "nan", "inf", "two"])
def test_task_amount_that_is_no_share_and_not_whole_is_refused(amount, two_gpus):
    conf = {EXECUTOR: "2", TASK: amount, WORKER: "2", WORKER_SCRIPT: two_gpus}
    assert "expected at most 1, or a whole number" in refusal(conf, CLUSTER)


@pytest.mark.parametrize("amount", ["0.5", "-1", "many"])
@pytest.mark.parametrize("key", [EXECUTOR, WORKER])
def test_executors_and_workers_own_whole_devices(key, amount, two_gpus):
    conf = {EXECUTOR: "1", WORKER: "2", WORKER_SCRIPT: two_gpus, key: amount}
    assert f"{key}: is '{amount}', expected a whole number" in refusal(conf, CLUSTER)


def test_task_that_asks_more_than_its_executor_owns_is_refused():
    message = refusal({EXECUTOR: "1", TASK: "2"}, "yarn")
    assert message.startswith(f"{TASK}: asks for 2, but an executor has 1")


def test_task_amount_without_an_executors_is_refused():
    assert refusal({TASK: "1"}, "yarn").startswith(f"{EXECUTOR}: is not set")


@pytest.mark.parametrize(("task", "cpus"), [("1", "4"), ("0.5", "2")])
def test_executor_whose_cores_leave_a_device_idle_is_refused(task, cpus):
    conf = {EXECUTOR: "2", TASK: task, "spark.executor.cores": "4", "spark.task.cpus": cpus}
    assert "would own 2 GPUs, and its" in refusal(conf, "yarn")
    assert "at a time use 1" in refusal(conf, "yarn")


@pytest.mark.parametrize(
    ("missing", "named", "consequence"),
    [
        ({WORKER, WORKER_SCRIPT}, WORKER, "no executor would ever start"),
        ({WORKER_SCRIPT}, WORKER_SCRIPT, "the worker would end at start"),
    ],
)
def test_local_cluster_without_its_workers_part_is_refused(two_gpus, missing, named, consequence):
    conf = {EXECUTOR: "1", WORKER: "2", WORKER_SCRIPT: two_gpus}
    check_gpu_settings(conf, CLUSTER)
    message = refusal({key: conf[key] for key in conf if key not in missing}, CLUSTER)
    assert message.startswith(f"{named}: is not set")
    assert consequence in message


def test_resources_file_stands_in_for_a_script():
    conf = {EXECUTOR: "1", WORKER: "2", "spark.worker.resourcesFile": "/w.json"}
    check_gpu_settings(conf, CLUSTER)


def test_executor_larger_than_what_its_worker_finds_is_refused(two_gpus):
    conf = {EXECUTOR: "3", WORKER: "1", WORKER_SCRIPT: two_gpus}
    message = refusal(conf, CLUSTER)
    assert message.startswith(f"{EXECUTOR}: asks for 3")
    assert "has 2: no executor would ever start" in message


def test_worker_offers_all_that_its_script_finds(two_gpus):
    check_gpu_settings({EXECUTOR: "2", WORKER: "1", WORKER_SCRIPT: two_gpus}, CLUSTER)


def test_addresses_may_be_written_as_numbers(tmp_path):
    body = """echo '{"name": "gpu", "addresses": [0, 1]}'"""
    assert discover_gpus(script(tmp_path, body)) == {"0", "1"}


def test_worker_that_promises_more_than_the_script_finds_is_refused(two_gpus):
    conf = {EXECUTOR: "1", WORKER: "3", WORKER_SCRIPT: two_gpus}
    message = refusal(conf, CLUSTER)
    assert message.startswith(f"{WORKER}: asks for 3")
    assert "has 2" in message


def test_two_workers_on_one_machine_are_refused(two_gpus):
    conf = {EXECUTOR: "1", WORKER: "2", WORKER_SCRIPT: two_gpus}
    assert "same GPUs" in refusal(conf, "local-cluster[2,1,1024]")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("echo 0 1", "printed '0 1"),
        ("echo '[\"0\"]'", "printed"),
        ("""echo '{"name": "fpga", "addresses": ["0"]}'""", "printed"),
        ("""echo '{"name": "gpu", "addresses": "0"}'""", "printed"),
        ("""echo '{"name": "gpu", "addresses": [[0]]}'""", "printed"),
        ("""echo '{"name": "gpu"}'""", "printed"),
        ("echo no driver >&2; exit 9", "ended with 9: no driver"),
    ],
)
def test_script_that_says_nothing_of_use_is_refused(tmp_path, body, problem):
    with pytest.raises(ConfigError, match="GPU discovery script") as caught:
        discover_gpus(script(tmp_path, body))
    assert problem in str(caught.value)


def test_script_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "DISCOVERY_TIMEOUT_S", 0.3)
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=r"took longer than 0\.3 s"):
        discover_gpus(script(tmp_path, "sleep 60; true"))
    assert time.monotonic() - begin < 10


def test_script_that_cant_be_run_is_refused(tmp_path):
    unset = script(tmp_path, "true", mode=0o644)
    broken = tmp_path / "broken.sh"
    broken.write_text("#!/no/such/shell\n")
    broken.chmod(0o755)
    for path, problem in (
        ("fake_gpus.sh", "not absolute"),
        (str(tmp_path), "no executable file"),
        (unset, "no executable file"),
        (str(tmp_path / "missing.sh"), "no executable file"),
        (str(broken), "can't be run"),
    ):
        with pytest.raises(ConfigError, match=problem):
            discover_gpus(path)


def test_executors_in_containers_need_a_script_at_a_place_they_have():
    assert refusal({EXECUTOR: "1"}, "yarn").startswith(f"{SCRIPT}: is not set")
    assert "again and again" in refusal({EXECUTOR: "1"}, "k8s://https://host")
    check_gpu_settings({EXECUTOR: "1", SCRIPT: "./g.sh"}, "yarn")
    assert "not absolute" in refusal({EXECUTOR: "1", SCRIPT: "g.sh"}, "yarn")
    assert "not absolute" in refusal({EXECUTOR: "1", SCRIPT: "./g.sh"}, "k8s://https://host")
    check_gpu_settings({EXECUTOR: "1", "spark.resources.discoveryPlugin": "a.B"}, "yarn")


def test_kubernetes_needs_a_vendor():
    conf = {EXECUTOR: "1", SCRIPT: "/g.sh"}
    assert refusal(conf, "k8s://https://host").startswith(f"{VENDOR}: is not set")
    check_gpu_settings({**conf, VENDOR: "nvidia.com"}, "k8s://https://host")


def test_standalone_cluster_that_says_nothing_must_be_described():
    assert refusal({EXECUTOR: "1"}, STANDALONE).startswith(f"{WORKER}: is not set")
    check_gpu_settings({EXECUTOR: "1", WORKER: "2"}, STANDALONE)
    assert "has 2" in refusal({EXECUTOR: "4", WORKER: "2"}, STANDALONE)


@pytest.fixture
def status(monkeypatch):
    """Serve what the test puts into this mapping as a master's status page."""
    said = {"url": STANDALONE, "status": "ALIVE", "workers": []}

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_):
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SPARK_MASTER_WEBUI_PORT", str(server.server_port))
    yield said
    server.shutdown()
    server.server_close()
    thread.join()


def worker(*addresses, state="ALIVE"):
    gpu = {"gpu": {"name": "gpu", "addresses": addresses}} if addresses else {}
    return {"state": state, "resources": gpu}


def test_standalone_cluster_that_answers_is_believed(status):
    conf = {EXECUTOR: "2", WORKER: "8"}
    assert "has 0" in refusal(conf, STANDALONE)
    status["workers"] = [worker(), worker("0"), worker("0", "1", state="DEAD")]
    assert "has 1" in refusal(conf, STANDALONE)
    status["workers"].append(worker("0", "1"))
    check_gpu_settings({EXECUTOR: "2"}, STANDALONE)


def test_another_or_a_standby_master_is_not_believed(status):
    status["status"] = "STANDBY"
    check_gpu_settings({EXECUTOR: "2", WORKER: "2"}, STANDALONE)
    status.update(status="ALIVE", url="spark://127.0.0.1:9999")
    check_gpu_settings({EXECUTOR: "2", WORKER: "2"}, STANDALONE)
