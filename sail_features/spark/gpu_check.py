"""Refuses GPU settings under which Spark would wait for ever, die silently or share a device.

Spark answers most of these with a log line at most, and the job stands still, or its
JVM ends: there is no error for tasks that no executor will ever be large enough for.
What is said of local mode, ``local-cluster`` and standalone clusters was seen on Spark
4.3; of YARN and Kubernetes it comes from their documentation. What can't be known
beforehand (which of their nodes own GPUs) isn't checked.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sail_features.errors import ConfigError
from sail_features.spark.gpu import (
    EXECUTOR_AMOUNT,
    EXECUTOR_CORES,
    EXECUTOR_SCRIPT,
    EXECUTOR_VENDOR,
    GPU,
    TASK_AMOUNT,
    WORKER_AMOUNT,
    WORKER_SCRIPT,
)

DISCOVERY_TIMEOUT_S = 30.0
"""Above the seconds that nvidia-smi takes without its persistence daemon; chosen here."""
MASTER_TIMEOUT_S: Final = 3.0
WORKER_FILE: Final = "spark.worker.resourcesFile"
DISCOVERY_PLUGIN: Final = "spark.resources.discoveryPlugin"
SCRIPT_EXAMPLE: Final = "/opt/sail/discover_gpus.sh"
WAITS: Final = "no executor would ever start, and the job would wait for ever"
DIES: Final = "the worker would end at start, and Spark with it, without a reason"


def check_gpu_settings(conf: Mapping[str, str], master: str) -> None:
    """Refuse GPU amounts that this kind of cluster can't serve.

    Raises
    ------
    ConfigError
        Naming the setting, what Spark would do with it, and the next step.

    Notes
    -----
    Settings without any GPU amount pass at once. Otherwise a ``local-cluster`` costs one
    run of the discovery script, and a standalone cluster one question to its master's
    status page (``SPARK_MASTER_WEBUI_PORT``, else 8080).
    """
    executor = _amount(conf, EXECUTOR_AMOUNT)
    task = _amount(conf, TASK_AMOUNT)
    for key, amount in ((EXECUTOR_AMOUNT, executor), (TASK_AMOUNT, task)):
        if amount and re.fullmatch(r"local(\[.*])?", master):
            raise ConfigError.gpu_in_local_mode(key, master)
    _check_task_amount(conf, executor, task)
    if not executor:
        return
    if master.startswith("local-cluster"):
        _check_local_cluster(conf, master, executor)
    elif master.startswith("spark://"):
        _check_standalone(conf, master, executor)
    else:
        _check_containers(conf, master)


def _amount(conf: Mapping[str, str], key: str) -> float | None:
    """Return a GPU amount, whole unless it is a task's; None where it isn't set."""
    if key not in conf:
        return None
    try:
        amount = float(conf[key])
    except ValueError:
        amount = math.nan
    if key == TASK_AMOUNT:
        if not (0 < amount <= 1 or (amount > 0 and amount.is_integer())):
            raise ConfigError.gpu_amount_invalid(key, conf[key], "at most 1, or a whole number")
    elif not (amount >= 0 and amount.is_integer()):
        raise ConfigError.gpu_amount_invalid(key, conf[key], "a whole number")
    return amount


def _check_task_amount(conf: Mapping[str, str], executor: float | None, task: float | None) -> None:
    if task is None:
        return
    if not executor:
        raise ConfigError.gpu_setting_missing(
            EXECUTOR_AMOUNT, TASK_AMOUNT, "Spark would refuse to start", "1"
        )
    if task > executor:
        raise ConfigError.gpu_more_than_owned(
            TASK_AMOUNT, f"{task:g}", "an executor", f"{executor:g}", "Spark would refuse to start"
        )
    _check_all_are_used(conf, int(executor), task)


def _check_all_are_used(conf: Mapping[str, str], executor: int, task: float) -> None:
    """Refuse devices of an executor that the tasks on its cores can't reach."""
    try:
        cores = float(conf[EXECUTOR_CORES])
        at_once = int(cores / float(conf.get("spark.task.cpus", "1")))
    except (KeyError, ValueError, ZeroDivisionError):
        return  # all cores of a worker, or a number that Spark refuses itself
    # Tasks of a share fill one device before Spark gives them the next.
    used = math.ceil(at_once * task)
    if used < executor:
        raise ConfigError.gpu_left_idle(EXECUTOR_AMOUNT, executor, used, at_once)


def _check_local_cluster(conf: Mapping[str, str], master: str, executor: float) -> None:
    """Workers run in this process' JVM: their settings are ours, and so are their devices."""
    worker = _amount(conf, WORKER_AMOUNT)
    if not worker:
        raise ConfigError.gpu_setting_missing(WORKER_AMOUNT, EXECUTOR_AMOUNT, WAITS, "2")
    workers = int(re.findall(r"\d+", master)[0]) if re.search(r"\d", master) else 1
    if workers > 1:
        raise ConfigError.gpu_shared_by_workers(master, workers)
    if WORKER_FILE in conf:
        return
    if WORKER_SCRIPT not in conf:
        raise ConfigError.gpu_setting_missing(WORKER_SCRIPT, WORKER_AMOUNT, DIES, SCRIPT_EXAMPLE)
    # The worker offers all that the script prints; its amount is what it must print at least.
    found = len(discover_gpus(conf[WORKER_SCRIPT]))
    owner = f"this machine, by {conf[WORKER_SCRIPT]},"
    if found < worker:
        raise ConfigError.gpu_more_than_owned(WORKER_AMOUNT, f"{worker:g}", owner, found, DIES)
    if found < executor:
        raise ConfigError.gpu_more_than_owned(EXECUTOR_AMOUNT, f"{executor:g}", owner, found, WAITS)


def _check_standalone(conf: Mapping[str, str], master: str, executor: float) -> None:
    """Workers were started elsewhere: ask their master, or rely on what the user declares."""
    seen = gpus_of_workers(master)
    owned = _amount(conf, WORKER_AMOUNT) if seen is None else seen
    if owned is None:
        raise ConfigError.gpu_setting_missing(
            WORKER_AMOUNT,
            EXECUTOR_AMOUNT,
            f"if no worker of {master} was started with GPUs (and its status page can't be "
            f"asked), {WAITS}",
            "the number that SPARK_WORKER_OPTS gave the workers",
        )
    if executor > owned:
        owner = f"the largest worker of {master}"
        raise ConfigError.gpu_more_than_owned(
            EXECUTOR_AMOUNT, f"{executor:g}", owner, f"{owned:g}", WAITS
        )


def _check_containers(conf: Mapping[str, str], master: str) -> None:
    """YARN and Kubernetes give devices to a container, which must find them itself."""
    if DISCOVERY_PLUGIN not in conf:
        if EXECUTOR_SCRIPT not in conf:
            raise ConfigError.gpu_setting_missing(
                EXECUTOR_SCRIPT,
                EXECUTOR_AMOUNT,
                "every executor would fail at start, again and again",
                SCRIPT_EXAMPLE,
            )
        script = conf[EXECUTOR_SCRIPT]
        # YARN puts the files of --files into the container's folder before it starts.
        shipped = master.startswith("yarn") and script.startswith("./")
        if not shipped and not Path(script).is_absolute():
            raise ConfigError.gpu_script_unusable(script, "its path is not absolute")
    if master.startswith("k8s://") and EXECUTOR_VENDOR not in conf:
        raise ConfigError.gpu_setting_missing(
            EXECUTOR_VENDOR, EXECUTOR_AMOUNT, "Spark could request no pod", "nvidia.com"
        )


def discover_gpus(script: str) -> frozenset[str]:
    """Run a discovery script on this machine, as a worker would, and return its addresses.

    Raises
    ------
    ConfigError
        It can't be run, fails, takes too long or doesn't print what Spark reads.
    """
    path = Path(script)
    if not path.is_absolute():
        raise ConfigError.gpu_script_unusable(script, "its path is not absolute")
    if not path.is_file() or not os.access(path, os.X_OK):
        raise ConfigError.gpu_script_unusable(script, "is no executable file on this machine")
    printed = _output_of(script)
    try:
        said: Any = json.loads(printed)
        name, addresses = said["name"], said["addresses"]
        valid = name == GPU and isinstance(addresses, list)
    except (ValueError, TypeError, KeyError):
        valid = False
    if not valid or not all(isinstance(address, str | int) for address in addresses):
        raise ConfigError.gpu_script_unusable(script, f"printed {printed[:200]!r}")
    return frozenset(map(str, addresses))


def _output_of(script: str) -> str:
    """Return what the script prints; it and its children end in bounded time."""
    try:
        with subprocess.Popen(  # noqa: S603 (Spark would run this file as well)
            [script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            printed, complaint = _communicate(process)
    except OSError as error:
        raise ConfigError.gpu_script_unusable(script, f"can't be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        problem = f"took longer than {DISCOVERY_TIMEOUT_S:g} s"
        raise ConfigError.gpu_script_unusable(script, problem) from error
    if process.returncode:
        problem = f"ended with {process.returncode}: {complaint.strip()[:200]}"
        raise ConfigError.gpu_script_unusable(script, problem)
    return printed


def _communicate(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=DISCOVERY_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # With its children, which would keep the pipes open.
        os.killpg(process.pid, signal.SIGKILL)
        raise


def gpus_of_workers(master: str) -> int | None:
    """Return the GPUs of a standalone cluster's largest worker; None where nobody says."""
    port = int(os.environ.get("SPARK_MASTER_WEBUI_PORT", "8080"))
    for address in master.removeprefix("spark://").split(","):
        state = _status_of(address.rpartition(":")[0], port)
        # Another master may use that port, and a standby one knows no workers.
        if state.get("url") == f"spark://{address}" and state.get("status") == "ALIVE":
            alive = [w for w in state.get("workers", []) if w.get("state") == "ALIVE"]
            return max((_gpus_of_worker(worker) for worker in alive), default=0)
    return None


def _gpus_of_worker(worker: Mapping[str, Any]) -> int:
    return len(worker.get("resources", {}).get(GPU, {}).get("addresses", ()))


def _status_of(host: str, port: int) -> dict[str, Any]:
    """Return what a master's status page says; nothing where it doesn't answer."""
    connection = http.client.HTTPConnection(host, port, timeout=MASTER_TIMEOUT_S)
    try:
        connection.request("GET", "/json/")
        said: Any = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return said if isinstance(said, dict) else {}
