"""Training as processes: killed in the middle, and several that share a batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import training_run
from safetensors.torch import load_file

from sail_features.training.curve import read_curve

PROGRAM = Path(training_run.__file__)
LIMIT_S = 300


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parent)}


def start(*arguments, module=()):
    command = [sys.executable, *module, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, env=environment())


def finish(process):
    assert process.wait(timeout=LIMIT_S) == 0


@pytest.mark.slow
def test_a_run_killed_in_the_middle_goes_on_to_the_same_curve_and_bytes(tmp_path):
    finish(start(tmp_path / "whole"))
    parts = tmp_path / "parts"
    for least in (9, 23):  # beyond a checkpoint, and not at one
        process = start(parts)
        deadline = time.monotonic() + LIMIT_S
        while len(read_curve(parts)) < least and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert least <= len(read_curve(parts)) < training_run.SETTINGS.steps
    finish(start(parts))
    assert read_curve(parts) == read_curve(tmp_path / "whole")
    (ours, theirs) = (
        next(folder.glob("checkpoint-*/tensors.safetensors")).read_bytes()
        for folder in (parts, tmp_path / "whole")
    )
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_two_processes_that_share_each_batch_train_the_weights_of_one(tmp_path, chunk_size):
    training_run.run_shared(tmp_path)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = [] if chunk_size is None else [chunk_size]
    finish(start(tmp_path / "shared", *arguments, module=torchrun))
    alone = load_file(tmp_path / "weights-of-1.safetensors")
    shared = load_file(tmp_path / "shared" / "weights-of-2.safetensors")
    torch.testing.assert_close(shared, alone, rtol=2e-4, atol=2e-5)
    one, two = read_curve(tmp_path), read_curve(tmp_path / "shared")
    for ours, theirs in zip(two, one, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
