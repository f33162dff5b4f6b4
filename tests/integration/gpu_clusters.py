"""Real Spark clusters that schedule GPUs which only a script believes in.

Run as a program, this file is what the tests drive a cluster with (a process can have
one Spark, and the other tests keep theirs): it builds a session from the configuration
that it is given, runs tasks that note what they were offered, and prints that as JSON.
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
from typing import Any

import pyarrow as pa
from pyspark import TaskContext

from sail_features.config import SparkConfig
from sail_features.errors import ConfigError
from sail_features.spark.gpu import device_of_task, encode_profile
from sail_features.spark.session import build_session

TASKS = 4
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
    sys.stdout.write(json.dumps(found) + "\n")
    spark.stop()


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


if __name__ == "__main__":
    main(sys.argv[1])
