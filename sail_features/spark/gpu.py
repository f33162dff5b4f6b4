"""GPUs by Spark's own scheduling: what the encode job asks for, and what its tasks got.

Spark hands out *addresses*, opaque strings that a discovery script printed on the
machine that owns the devices. Executors are given addresses for life, tasks for their
duration. Nothing here guesses a device, counts devices or imports torch; settings that
would hang are refused beforehand by `gpu_check`.

Static settings make every stage ask for GPUs, so that only as many tasks run as there
are devices to share. ``stage_level`` leaves the task amount out and puts it on the
encode stage alone (`encode_profile`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Final

from pyspark import TaskContext
from pyspark.resource import (
    ExecutorResourceRequests,
    ResourceProfile,
    ResourceProfileBuilder,
    TaskResourceRequests,
)
from pyspark.sql import SparkSession

from sail_features.config import SparkConfig
from sail_features.errors import ConfigError

GPU: Final = "gpu"
EXECUTOR_AMOUNT: Final = "spark.executor.resource.gpu.amount"
EXECUTOR_SCRIPT: Final = "spark.executor.resource.gpu.discoveryScript"
EXECUTOR_VENDOR: Final = "spark.executor.resource.gpu.vendor"
TASK_AMOUNT: Final = "spark.task.resource.gpu.amount"
WORKER_AMOUNT: Final = "spark.worker.resource.gpu.amount"
WORKER_SCRIPT: Final = "spark.worker.resource.gpu.discoveryScript"
EXECUTOR_CORES: Final = "spark.executor.cores"
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def device_of_task() -> tuple[str, str]:
    """Return the device that Spark gave the running task, and the reason for the manifest.

    Returns
    -------
    ``cuda:N`` as torch names it, or ``cpu``; and why.

    Raises
    ------
    ConfigError
        The task's device is hidden from its Python worker. Spark runs the task again
        in a new worker, which cures a worker that another device was pinned in.

    Notes
    -----
    To be called in every task, before anything touches CUDA (even
    ``torch.cuda.is_available`` does). A worker that lives on may be given another
    device when its executor owns several: keep models by device.
    """
    context = TaskContext.get()
    if context is None:
        return "cpu", "no Spark task runs here that could be offered a gpu"
    offered = context.resources().get(GPU)
    if offered is None or not offered.addresses:
        return "cpu", "Spark offered this task no gpu"
    address = offered.addresses[0]
    return device_of_address(address, os.environ), f"Spark offered this task gpu {address}"


def device_of_address(address: str, environment: MutableMapping[str, str]) -> str:
    """Return torch's name of the device that Spark knows by ``address``.

    Notes
    -----
    A number is nvidia-smi's index, which is also CUDA's with
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` (`gpu_settings` sets it); where the environment
    lists visible devices, CUDA counts along that list. Any other address (``GPU-...``,
    ``MIG-...``) has no index that can be known without CUDA, and of MIG slices a process
    sees only one: the worker is pinned to it by ``CUDA_VISIBLE_DEVICES``, once for all.

    Examples
    --------
    >>> device_of_address("1", {})
    'cuda:1'
    >>> device_of_address("3", {"CUDA_VISIBLE_DEVICES": "2,3"})
    'cuda:1'
    >>> environment = {}
    >>> device_of_address("MIG-5c1e", environment), environment
    ('cuda:0', {'CUDA_VISIBLE_DEVICES': 'MIG-5c1e'})
    """
    visible = environment.get(VISIBLE)
    names = None if visible is None else [name.strip() for name in visible.split(",")]
    if names is not None and address not in names:
        raise ConfigError.gpu_not_visible(address, str(visible))
    if address.isdecimal():
        return f"cuda:{int(address) if names is None else names.index(address)}"
    if names != [address]:
        if _cuda_has_started():
            raise ConfigError.gpu_not_visible(address, visible or "the devices of its first task")
        environment[VISIBLE] = address
    return "cuda:0"


def _cuda_has_started() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def gpu_requests(config: SparkConfig, master: str) -> dict[str, str]:
    """Return all that ``spark.gpu`` asks for, as if it were asked for statically.

    Only workers that Spark starts itself (``local-cluster``) take their settings from
    here; those of a standalone cluster are started with theirs.
    """
    gpu = config.gpu
    if not gpu.per_executor:
        return {}
    requests = {EXECUTOR_AMOUNT: str(gpu.per_executor), TASK_AMOUNT: f"{gpu.per_task:g}"}
    if master.startswith("local-cluster"):
        # What a worker must own at least; it offers all that its script prints.
        requests[WORKER_AMOUNT] = str(gpu.per_executor)
        if gpu.discovery_script:
            requests[WORKER_SCRIPT] = gpu.discovery_script
    elif gpu.discovery_script:
        requests[EXECUTOR_SCRIPT] = gpu.discovery_script
    if master.startswith("k8s://"):
        # The first half of the resource's name in a pod: nvidia.com/gpu.
        requests[EXECUTOR_VENDOR] = "nvidia.com"
    return requests


def gpu_settings(config: SparkConfig, master: str) -> dict[str, str]:
    """Return the settings that a session is started with to be offered GPUs.

    With ``stage_level`` the task amount is left to the encode stage's profile, and under
    dynamic allocation the executors' part too: then only that stage starts executors
    with GPUs. The environment makes CUDA count devices as nvidia-smi does.
    """
    settings = gpu_requests(config, master)
    if not settings:
        return {}
    if config.gpu.stage_level:
        del settings[TASK_AMOUNT]
        if allocates_dynamically(config.conf):
            for key in (EXECUTOR_AMOUNT, EXECUTOR_SCRIPT, EXECUTOR_VENDOR):
                settings.pop(key, None)
    settings["spark.executorEnv.CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return settings


def allocates_dynamically(conf: Mapping[str, str]) -> bool:
    """Return whether Spark starts and stops executors by need."""
    return conf.get("spark.dynamicAllocation.enabled", "false").lower() == "true"


def encode_profile(spark: SparkSession, config: SparkConfig) -> ResourceProfile | None:
    """Return what the encode stage asks for beyond other stages; None where nothing.

    Give it to ``mapInArrow(..., profile=...)``. A task takes the share of its executor's
    cores that it takes of the devices, for tokenising and decoding; ``TaskContext.cpus``
    tells it how many.

    Raises
    ------
    ConfigError
        The session runs in local mode, or its executors own no GPU and Spark can't
        start others (no dynamic allocation).
    """
    gpu = config.gpu
    if not gpu.per_executor or not gpu.stage_level:
        return None
    conf = dict(spark.sparkContext.getConf().getAll())
    master = spark.sparkContext.master
    dynamic = allocates_dynamically(conf)
    if master.startswith("local") and not master.startswith("local-cluster"):
        raise ConfigError.gpu_profile_unsupported(master, "there are no executors")
    if not dynamic and EXECUTOR_AMOUNT not in conf:
        raise ConfigError.gpu_profile_unsupported(master, "the executors own no GPU")
    tasks = TaskResourceRequests().cpus(_cores_of_task(conf, config))
    builder = ResourceProfileBuilder().require(tasks.resource(GPU, gpu.per_task))
    if dynamic:
        builder = builder.require(_executors(conf, config, master))
    return builder.build


def _cores_of_task(conf: Mapping[str, str], config: SparkConfig) -> int:
    cores = conf.get(EXECUTOR_CORES)
    if cores is None:
        return max(1, int(float(conf.get("spark.task.cpus", "1"))))
    return max(1, int(int(cores) * config.gpu.per_task / config.gpu.per_executor))


def _executors(
    conf: Mapping[str, str], config: SparkConfig, master: str
) -> ExecutorResourceRequests:
    """Return executors like the others of the session, with GPUs."""
    asked = gpu_requests(config, master)
    executors = ExecutorResourceRequests().resource(
        GPU,
        config.gpu.per_executor,
        asked.get(EXECUTOR_SCRIPT, ""),
        asked.get(EXECUTOR_VENDOR, ""),
    )
    if EXECUTOR_CORES in conf:
        executors = executors.cores(int(conf[EXECUTOR_CORES]))
    if "spark.executor.memory" in conf:
        executors = executors.memory(conf["spark.executor.memory"])
    return executors
