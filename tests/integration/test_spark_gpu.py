"""Spark's GPU scheduling on real clusters, with devices that only a script believes in.

No GPU is needed: the discovery scripts here are fakes that print addresses. Each
cluster is driven by this very file run as a program (a process can have one Spark, and
the other tests keep theirs): it builds a session from the configuration that it is
given, runs tasks that note what they were offered, and prints that as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyspark
import pytest
from pyspark import TaskContext

from sail_features.config import GpuConfig, SparkConfig
from sail_features.errors import ConfigError
from sail_features.spark.gpu import device_of_task, encode_profile
from sail_features.spark.session import build_session

TASKS = 6
SEEN = "task int, device string, reason string, cpus int, executor string, begin double, end double"


def note_offer(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Note what this task was offered, and take long enough to overlap with others."""
    begin = time.time()
    rows = sum(batch.num_rows for batch in batches)
    context = TaskContext.get()
    assert context is not None
    assert rows == 1
    device, reason = device_of_task()
    time.sleep(1)
    seen = {
        "task": pa.array([context.partitionId()], pa.int32()),
        "device": [device],
        "reason": [reason],
        "cpus": pa.array([int(context.cpus())], pa.int32()),
        # An executor's folder: the only name of its own that a Python worker sees.
        "executor": [os.getcwd()],
        "begin": [begin],
        "end": [time.time()],
    }
    yield pa.RecordBatch.from_pydict(seen)


def main(written: str) -> None:
    """Run `TASKS` tasks without a profile, then as many with the encode stage's, if any."""
    config = SparkConfig.model_validate_json(written)
    try:
        spark = build_session(config, "gpu test")
    except ConfigError as error:
        sys.exit(f"refused: {error}")
    profile = encode_profile(spark, config)
    found: dict[str, Any] = {}
    for name, used in (("plain", None), ("profile", profile)):
        if name == "plain" or used is not None:
            frame = spark.range(0, TASKS, 1, TASKS).mapInArrow(note_offer, SEEN, profile=used)
            found[name] = [row.asDict() for row in frame.collect()]
    print(json.dumps(found))
    spark.stop()


@pytest.fixture
def home(tmp_path):
    """Return a SPARK_HOME in the test's folder: executors keep their files in SPARK_HOME/work."""
    folder = tmp_path / "spark"
    folder.mkdir()
    for part in ("bin", "jars"):
        (folder / part).symlink_to(Path(pyspark.__file__).parent / part)
    return folder


@pytest.fixture
def fake_script(tmp_path):
    """Return a discovery script that claims two GPUs, "0" and "1"."""
    return write_script(tmp_path / "fake_gpus.sh", "0", "1")


def write_script(path, *addresses):
    said = json.dumps({"name": "gpu", "addresses": addresses})
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return path


def environment(home, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "CUDA_"))}
    return {**kept, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", **more}


def run(home, master, gpu, *, conf=None, limit_s=150, **more):
    """Run this file as a program on that cluster."""
    settings = {"spark.executor.cores": "1", "spark.executor.memory": "1g", **(conf or {})}
    config = SparkConfig(master=master, driver_memory="1g", buckets=2, gpu=gpu, conf=settings)
    return subprocess.run(
        [sys.executable, __file__, config.model_dump_json()],
        env=environment(home, **more),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def offers(*args, **kwargs):
    """Return what the tasks of each stage saw."""
    program = run(*args, **kwargs)
    assert program.returncode == 0, program.stderr[-3000:]
    return json.loads(program.stdout.splitlines()[-1])


def most_at_once(rows):
    return max(sum(o["begin"] <= row["begin"] < o["end"] for o in rows) for row in rows)


def by_device(rows):
    devices = sorted({row["device"] for row in rows})
    return {device: [row for row in rows if row["device"] == device] for device in devices}


def check_one_device_an_executor(rows):
    assert len(rows) == TASKS
    assert list(by_device(rows)) == ["cuda:0", "cuda:1"]
    for device, mine in by_device(rows).items():
        assert len({row["executor"] for row in mine}) == 1
        assert most_at_once(mine) == 1
        assert {row["reason"] for row in mine} == {f"Spark offered this task gpu {device[-1]}"}
    assert len({row["executor"] for row in rows}) == 2
    assert most_at_once(rows) <= 2


def test_each_executor_has_a_device_of_its_own(home, fake_script):
    gpu = GpuConfig(per_executor=1, per_worker=2, discovery_script=str(fake_script))
    found = offers(home, "local-cluster[1,2,2048]", gpu, limit_s=60)
    check_one_device_an_executor(found["plain"])
    assert (home / "work").is_dir()  # and nothing beside the installed package
    assert not (Path(pyspark.__file__).parent / "work").exists()


@pytest.mark.slow
def test_two_tasks_of_a_half_share_a_device(home, fake_script):
    gpu = GpuConfig(per_executor=1, per_task=0.5, discovery_script=str(fake_script))
    conf = {"spark.executor.cores": "2"}
    found = offers(home, "local-cluster[1,2,2048]", gpu, conf=conf)["plain"]
    assert list(by_device(found)) == ["cuda:0"]
    assert most_at_once(found) == 2


@pytest.mark.slow
def test_whole_device_a_task_holds_back_the_other_core(home, fake_script):
    gpu = GpuConfig(per_executor=1, discovery_script=str(fake_script))
    conf = {"spark.executor.cores": "2"}
    found = offers(home, "local-cluster[1,2,2048]", gpu, conf=conf)["plain"]
    assert most_at_once(found) == 1


@pytest.mark.slow
def test_only_the_encode_stage_asks_for_devices(home, fake_script):
    gpu = GpuConfig(
        per_executor=1, per_worker=2, discovery_script=str(fake_script), stage_level=True
    )
    found = offers(home, "local-cluster[1,2,2048]", gpu)
    check_one_device_an_executor(found["profile"])
    assert {row["device"] for row in found["plain"]} == {"cpu"}
    assert {row["reason"] for row in found["plain"]} == {"Spark offered this task no gpu"}


@pytest.mark.slow
def test_encode_task_has_all_cores_of_its_device_and_other_stages_use_each_alone(home, fake_script):
    gpu = GpuConfig(per_executor=1, discovery_script=str(fake_script), stage_level=True)
    conf = {"spark.executor.cores": "2"}
    found = offers(home, "local-cluster[1,2,2048]", gpu, conf=conf)
    assert {row["cpus"] for row in found["profile"]} == {2}
    assert most_at_once(found["profile"]) == 1
    assert {row["cpus"] for row in found["plain"]} == {1}
    assert most_at_once(found["plain"]) == 2


@pytest.mark.slow
def test_dynamic_allocation_starts_executors_with_devices_for_the_encode_stage(home, fake_script):
    gpu = GpuConfig(
        per_executor=1, per_worker=2, discovery_script=str(fake_script), stage_level=True
    )
    conf = {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.maxExecutors": "2",
        # The plain stage's executors make room for those with a device.
        "spark.dynamicAllocation.executorIdleTimeout": "3s",
    }
    found = offers(home, "local-cluster[1,4,4096]", gpu, conf=conf)
    assert {row["device"] for row in found["plain"]} == {"cpu"}
    check_one_device_an_executor(found["profile"])
    plain, encode = ({row["executor"] for row in found[name]} for name in ("plain", "profile"))
    assert not plain & encode


@pytest.mark.slow
def test_device_known_by_a_name_is_pinned_as_the_only_one(home, tmp_path):
    script = write_script(tmp_path / "fake_slices.sh", "MIG-5c1e", "MIG-77ab")
    gpu = GpuConfig(per_executor=1, per_worker=2, discovery_script=str(script))
    found = offers(home, "local-cluster[1,2,2048]", gpu)["plain"]
    assert {row["device"] for row in found} == {"cuda:0"}
    pairs = {(row["executor"], row["reason"]) for row in found}
    assert len(pairs) == 2


@pytest.mark.slow
def test_worker_that_changes_its_pinned_device_is_replaced_and_the_task_runs_again(home, tmp_path):
    script = write_script(tmp_path / "fake_slices.sh", "MIG-5c1e", "MIG-77ab")
    gpu = GpuConfig(per_executor=2, discovery_script=str(script))
    conf = {"spark.executor.cores": "2"}
    found = offers(home, "local-cluster[1,2,2048]", gpu, conf=conf)["plain"]
    assert sorted(row["task"] for row in found) == list(range(TASKS))
    assert len({row["reason"] for row in found}) == 2


@pytest.mark.slow
def test_no_device_asked_for_runs_on_the_cpu_and_says_so(home):
    found = offers(home, "local-cluster[1,2,2048]", GpuConfig())
    assert list(found) == ["plain"]
    reasons = {(row["device"], row["reason"]) for row in found["plain"]}
    assert reasons == {("cpu", "Spark offered this task no gpu")}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def workers_of(ui_port):
    connection = http.client.HTTPConnection("127.0.0.1", ui_port, timeout=3)
    try:
        connection.request("GET", "/json/")
        return json.loads(connection.getresponse().read())["workers"]
    except (OSError, ValueError):
        return []
    finally:
        connection.close()


class Standalone:
    """A master and a worker of the pyspark wheel, which has no start scripts, on loopback."""

    def __init__(self, home, script):
        self.home, self.script = home, script
        port, self.ui_port = free_ports(2)
        self.master = f"spark://127.0.0.1:{port}"
        self.processes = []
        self.start("master.Master", f"--port {port} --webui-port {self.ui_port}", "")

    def start(self, name, arguments, options):
        command = [self.home / "bin" / "spark-class", f"org.apache.spark.deploy.{name}"]
        log = (self.home / f"{name}.log").open("w")
        self.processes.append(
            subprocess.Popen(
                [*command, "--host", "127.0.0.1", *arguments.split()],
                env=environment(self.home, SPARK_WORKER_OPTS=options, SPARK_DAEMON_MEMORY="512m"),
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        )
        log.close()

    def start_worker(self, gpus):
        options = (
            f"-Dspark.worker.resource.gpu.amount={gpus} "
            f"-Dspark.worker.resource.gpu.discoveryScript={self.script}"
            if gpus
            else ""
        )
        folder = self.home / "work"
        self.start(
            "worker.Worker",
            f"--cores 2 --memory 3g --webui-port 0 --work-dir {folder} {self.master}",
            options,
        )
        until = time.monotonic() + 90
        while not workers_of(self.ui_port):
            assert time.monotonic() < until, "the worker didn't register"
            time.sleep(0.5)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def standalone(home, fake_script):
    cluster = Standalone(home, fake_script)
    yield cluster
    cluster.stop()


@pytest.mark.slow
def test_standalone_executors_have_devices_of_their_own(home, standalone):
    standalone.start_worker(gpus=2)
    port = {"SPARK_MASTER_WEBUI_PORT": str(standalone.ui_port)}
    for stage_level, name in ((False, "plain"), (True, "profile")):
        gpu = GpuConfig(per_executor=1, stage_level=stage_level)
        found = offers(home, standalone.master, gpu, **port)
        check_one_device_an_executor(found[name])


@pytest.mark.slow
def test_standalone_cluster_whose_workers_own_no_device_is_refused(home, standalone):
    standalone.start_worker(gpus=0)
    program = run(
        home,
        standalone.master,
        GpuConfig(per_executor=1),
        conf={"spark.worker.resource.gpu.amount": "2"},  # as declared, but not so
        SPARK_MASTER_WEBUI_PORT=str(standalone.ui_port),
    )
    assert program.returncode == 1
    assert "the largest worker of spark://127.0.0.1" in program.stderr
    assert "has 0; the job would wait for ever" in program.stderr


@pytest.mark.slow
def test_amount_given_to_spark_submit_in_local_mode_is_refused(home):
    config = SparkConfig(buckets=2).model_dump_json()
    submit = [home / "bin" / "spark-submit", "--master", "local[1]", "--driver-memory", "1g"]
    amounts = ["--conf", "spark.executor.resource.gpu.amount=1"]
    program = subprocess.run(
        [*submit, *amounts, __file__, config],
        env=environment(home, PYSPARK_PYTHON=sys.executable),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert program.returncode == 1
    assert "refused: spark.executor.resource.gpu.amount: under 'local[1]'" in program.stderr


if __name__ == "__main__":
    main(sys.argv[1])
