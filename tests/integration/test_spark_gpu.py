"""Spark's GPU scheduling on real clusters: who is offered which device, and how many at once.

No GPU is needed: the discovery scripts here are fakes that print addresses.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gpu_clusters
import pyspark
import pytest
from gpu_clusters import TASKS, Standalone, environment, offers, run, write_script

from sail_features.config import GpuConfig, SparkConfig


@pytest.fixture
def fake_script(tmp_path):
    """Return a discovery script that claims two GPUs, "0" and "1"."""
    return write_script(tmp_path / "fake_gpus.sh", "0", "1")


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


@pytest.mark.slow
def test_each_executor_has_a_device_of_its_own(home, fake_script):
    gpu = GpuConfig(per_executor=1, discovery_script=str(fake_script))
    found = offers(home, "local-cluster[1,2,2048]", gpu)
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
    gpu = GpuConfig(per_executor=1, discovery_script=str(fake_script), stage_level=True)
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
    gpu = GpuConfig(per_executor=1, discovery_script=str(fake_script), stage_level=True)
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
    gpu = GpuConfig(per_executor=1, discovery_script=str(script))
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
    assert "has 0: no executor would ever start" in program.stderr


@pytest.mark.slow
def test_amount_given_to_spark_submit_in_local_mode_is_refused(home):
    config = SparkConfig(buckets=2).model_dump_json()
    submit = [home / "bin" / "spark-submit", "--master", "local[1]", "--driver-memory", "1g"]
    amounts = ["--conf", "spark.executor.resource.gpu.amount=1"]
    program = subprocess.run(
        [*submit, *amounts, gpu_clusters.__file__, config],
        env=environment(home, PYSPARK_PYTHON=sys.executable),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert program.returncode == 1
    assert "refused: spark.executor.resource.gpu.amount: under 'local[1]'" in program.stdout
