"""Mechanics of training: memory of a gradient-cached batch, speed beside sentence-transformers.

Memory: steps of the tiny preset on three modalities, in a process of its own, once with a
plain batch of 64 and once with 4,096 pairs in chunks of 64. The peak of the whole process
counts; how far it lies above the state after a first step of 64 is told, too. Speed: MiniLM
fine-tuned on the same short texts with the same loss (InfoNCE on in-batch negatives, batch
64, one thread), the two sides in turn, CPU seconds. The other side is `old_fit`, their loop
that needs neither `datasets` nor `accelerate`; it is one-directional and tokenises as it
goes, ours is symmetric, tokenised before, and writes its checkpoint within the time. Takes
about two minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.encode import load_texts
from sail_features.encoders.checkpoints import find_minilm
from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import PRESETS, OmniSettings
from sail_features.training.loop import train
from sail_features.training.pair_objective import LossSettings, PairObjective
from sail_features.training.pairs import PairDataset
from sail_features.training.settings import TrainSettings

PLAIN: Final = 64
CACHED: Final = 4096
CHUNK: Final = 64
DIMS: Final = {"audio": 512, "text": 384, "vision": 768}
"""Of CLAP, MiniLM and CLIP."""
STEPS: Final = 8
ROUNDS: Final = 2
MAX_TOKENS: Final = 64


def planted_pairs(items: int = 10_000) -> PairDataset:
    """Return pairs of items of random vectors in three modalities."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((items, dim), np.float32) for name, dim in DIMS.items()}
    inputs = ItemInputs.from_arrays(np.arange(items), arrays)
    pairs = rng.integers(0, items, (2, 2 * items))
    return PairDataset.from_ids("pairs", inputs, inputs, (pairs[0], pairs[1]))


def print_memory(batch: int, chunk: int | None) -> None:
    """Print the peak of this process in training steps, and what it had before, in bytes."""
    torch.set_num_threads(1)
    data = planted_pairs()
    settings = data.query.inputs.bind(PRESETS["tiny"])
    objective = PairObjective(data, settings, LossSettings(chunk_size=chunk))
    model = OmniModel(settings)
    with tempfile.TemporaryDirectory() as folder:
        run = TrainSettings(steps=1, batch_size=CHUNK, warmup_steps=0)
        train(model, [objective], [1], run, Path(folder) / "first")  # what loads at first use
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
        run = TrainSettings(steps=2, batch_size=batch, warmup_steps=0)
        train(model, [objective], [1], run, Path(folder) / "measured")
    print(_memory("VmHWM"), before)


def memory_bars(details: dict[str, Any]) -> list[Bar]:
    """Return the bar of the gradient cache."""
    peak, added = {}, {}
    for name, batch, chunk in (("plain", PLAIN, 0), ("cached", CACHED, CHUNK)):
        command = [sys.executable, __file__, "--memory", str(batch), str(chunk)]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak[name], before = map(float, found.split())
        added[name] = peak[name] - before
    details["memory_mb"] = {
        "peak": {name: round(value / 1e6, 1) for name, value in peak.items()},
        "beyond a first step of 64": {name: round(value / 1e6, 1) for name, value in added.items()},
    }
    ratio = peak["cached"] / peak["plain"]
    return [Bar("cached 4,096 against plain 64: peak memory", ratio, "at most", 1.5, "x")]


def _memory(name: str) -> int:
    """Return one of the kernel's figures of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def our_side(texts: Sequence[str]) -> Callable[[], None]:
    """Return our training of MiniLM on pairs of neighbouring texts."""
    folder = str(find_minilm())
    settings = OmniSettings(
        hidden=384, backbone=folder, text_tokens=True, max_text_tokens=MAX_TOKENS, matryoshka=(384,)
    )
    ids = np.arange(len(texts))
    inputs = ItemInputs(ids, {}, {}).with_texts(texts, settings)
    data = PairDataset.from_ids("texts", inputs, inputs, (ids[:-1], ids[1:]))
    none = {"field": 0.0, "modality": 0.0}
    losses = {"in_context": 0, "late_fusion": 0, "dropout": none, "temperature": 0.05}
    objective = PairObjective(data, settings, LossSettings.model_validate(losses))
    run = TrainSettings(
        steps=STEPS, batch_size=PLAIN, warmup_steps=0, learning_rate=2e-5, weight_decay=0.01
    )
    model = OmniModel(settings)

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(model, [objective], [1], run, Path(folder))

    return work


def their_side(texts: Sequence[str]) -> Callable[[], None]:
    """Return sentence-transformers' training on the same pairs."""
    from sentence_transformers import InputExample, SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from torch.utils.data import DataLoader

    model = SentenceTransformer(str(find_minilm()), device="cpu")
    model.max_seq_length = MAX_TOKENS
    pairs = [InputExample(texts=[a, b]) for a, b in pairwise(texts)]

    def work() -> None:
        loader = DataLoader(pairs, batch_size=PLAIN, shuffle=True, drop_last=True)
        loss = MultipleNegativesRankingLoss(model)
        model.old_fit(
            [(loader, loss)],
            epochs=1,
            steps_per_epoch=STEPS,
            warmup_steps=0,
            show_progress_bar=False,
        )

    return work


def speed_bars(details: dict[str, Any]) -> list[Bar]:
    """Return the bar of throughput on text pairs."""
    texts = load_texts("online_retail", 2_000)
    sides = {"ours": our_side(texts), "theirs": their_side(texts)}
    best = dict.fromkeys(sides, float("inf"))
    for turn in range(ROUNDS):
        for side in list(sides) if turn % 2 else reversed(list(sides)):
            begin = time.process_time()
            sides[side]()
            best[side] = min(best[side], time.process_time() - begin)
    rates = {side: STEPS * PLAIN / seconds for side, seconds in best.items()}
    details["pairs_per_cpu_s"] = {side: round(rate, 1) for side, rate in rates.items()}
    ratio = rates["ours"] / rates["theirs"]
    return [Bar("text pairs against sentence-transformers", ratio, "at least", 1.0, "x")]


def main() -> None:
    """Measure each group of bars."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(1)
    details: dict[str, Any] = {"steps": STEPS, "batch": PLAIN, "chunk": CHUNK}
    finish("train_mechanics", [*memory_bars(details), *speed_bars(details)], details)


if __name__ == "__main__":
    if "--memory" in sys.argv:
        batch, chunk = (int(word) for word in sys.argv[-2:])
        print_memory(batch, chunk or None)
    else:
        main()
