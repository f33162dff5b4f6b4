"""Encoding text on the CPU: speed against sentence-transformers, share of the GEMM peak.

Real texts of ifdb (long) and online_retail (short), MiniLM, one thread. Every side takes
its turn in each round, in falling and rising order, and its best round in CPU seconds
counts, so that neighbours on a shared machine slow all alike. The peak is the best matrix
product that torch offers here, measured in the same rounds: oneDNN's, which on AMD is
more than twice that of ``torch.nn.functional.linear`` in float32. Takes about five minutes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from sail_features.encoders.budget import default_budget
from sail_features.encoders.checkpoints import find_minilm, read_json
from sail_features.encoders.devices import Placement, has_bf16
from sail_features.encoders.pipeline import EncodePipeline
from sail_features.encoders.transformer_text import TransformerTextEncoder

DATA: Final = Path(__file__).parents[2] / "shared" / "data"
TEXTS: Final = {"ifdb": 600, "online_retail": 3000}
"""How many texts of each set; sentence-transformers takes half a minute for either."""
MAX_TOKENS: Final = 128
BATCH_SIZES: Final = (8, 16, 32, 64)
ROUNDS: Final = 2
WARM_UP: Final = 64
ROWS, INNER, OUTER = 2048, 384, 1536
"""The largest product of MiniLM."""

Encode = Callable[[Sequence[str]], Any]


def load_texts(name: str, count: int | None = None) -> list[str]:
    """Return a sample of a set's item texts, the same in every run."""
    texts = pq.read_table(DATA / name / "items.parquet", columns=["text"])["text"].to_pylist()
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[row] for row in order[:count]]


def cpu_seconds(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what ``run`` returns, and the CPU time of this process."""
    begin = time.process_time()
    found = run()
    return found, time.process_time() - begin


def gemm_peak(dtype: torch.dtype) -> dict[str, float]:
    """Return GFLOP/s of one core by torch's own linear layer and by oneDNN's."""
    rows, weight = torch.randn(ROWS, INNER, dtype=dtype), torch.randn(OUTER, INNER, dtype=dtype)
    bias = torch.zeros(OUTER, dtype=dtype)
    ops = torch.ops.mkldnn
    packed = ops._reorder_linear_weight(weight, ROWS)
    ways: dict[str, Callable[[], Any]] = {
        "linear": lambda: torch.nn.functional.linear(rows, weight, bias),
        "onednn": lambda: ops._linear_pointwise(rows, packed, bias, "none", [], ""),
    }
    with torch.inference_mode():
        return {name: product_rate(way) for name, way in ways.items()}


def product_rate(multiply: Callable[[], Any], times: int = 20) -> float:
    """Return the best of three measurements of one product, in GFLOP/s."""
    seconds = [cpu_seconds(lambda: [multiply() for _ in range(times)])[1] for _ in range(3)]
    return times * 2 * ROWS * INNER * OUTER / 1e9 / min(seconds)


def useful_gflop(encoder: TransformerTextEncoder, texts: Sequence[str]) -> float:
    """Return the work of the texts without padding: matrix products only."""
    c = read_json(encoder.folder / "config.json")
    hidden, inner, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
    lengths = np.array([len(tokens) for tokens in encoder.prepare(texts)], float)
    a_token = 2 * layers * (4 * hidden**2 + 2 * hidden * inner) + 4 * layers * hidden * lengths
    return float((a_token * lengths).sum() / 1e9)


def our_encoders() -> dict[str, TransformerTextEncoder]:
    """Return one encoder for each dtype and backend that this machine has."""
    dtypes = ["float32", *(["bfloat16"] if has_bf16("cpu")[0] else [])]
    backends = ["torch", *(["openvino"] if find_spec("openvino") else [])]
    return {
        f"{backend} {dtype}": TransformerTextEncoder(
            max_tokens=MAX_TOKENS, placement=Placement(dtype=dtype, threads=1), backend=backend
        )
        for backend in backends
        for dtype in dtypes
    }


def sentence_transformers(texts: Sequence[str]) -> tuple[Encode, int]:
    """Return its ``encode`` at the batch size that is fastest on some of the texts."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(find_minilm()), device="cpu")
    model.max_seq_length = MAX_TOKENS

    def encode(texts: Sequence[str], size: int) -> Any:
        return model.encode(
            list(texts), batch_size=size, show_progress_bar=False, normalize_embeddings=True
        )

    encode(texts[:WARM_UP], BATCH_SIZES[0])
    some = texts[: len(texts) // 3]
    seconds = {size: cpu_seconds(lambda s=size: encode(some, s))[1] for size in BATCH_SIZES}
    best = min(seconds, key=seconds.__getitem__)
    return lambda texts: encode(texts, best), best


def measure(name: str, count: int) -> dict[str, Any]:
    """Return items a CPU second, cosines and shares of the peak on one set of texts."""
    texts = load_texts(name, count)
    theirs, batch_size = sentence_transformers(texts)
    encoders = our_encoders()
    sides: dict[str, Encode] = {"sentence-transformers": theirs}
    for side, encoder in encoders.items():
        pipeline = EncodePipeline(encoder)
        pipeline.encode(texts[:WARM_UP])
        sides[side] = lambda texts, pipeline=pipeline: pipeline.encode(texts).vectors
    seconds = dict.fromkeys(sides, float("inf"))
    vectors: dict[str, Any] = {}
    peaks: dict[str, dict[str, float]] = {"float32": {}, "bfloat16": {}}
    for turn in range(ROUNDS):
        for side in list(sides) if turn % 2 else reversed(sides):
            vectors[side], took = cpu_seconds(lambda side=side: sides[side](texts))
            seconds[side] = min(seconds[side], took)
        for dtype, peak in peaks.items():
            found = gemm_peak(getattr(torch, dtype))
            peak.update({way: max(rate, peak.get(way, 0)) for way, rate in found.items()})
    gflop = useful_gflop(next(iter(encoders.values())), texts)
    return {
        "texts": count,
        "batch_size": batch_size,
        "gemm_peak_gflops": peaks,
        "sides": {
            side: describe(side, count / took, gflop / took, peaks, vectors)
            | {"cpu_s": took}
            | {"ratio": seconds["sentence-transformers"] / took}
            for side, took in seconds.items()
        },
    }


def describe(
    side: str, rate: float, gflops: float, peaks: dict[str, dict[str, float]], vectors: Any
) -> dict[str, float]:
    """Return one side's figures."""
    peak = max(peaks["bfloat16" if "bfloat16" in side else "float32"].values())
    cosines = np.sum(vectors[side] * vectors["sentence-transformers"], axis=1)
    return {
        "items_per_cpu_s": rate,
        "gflops": gflops,
        "share_of_peak": gflops / peak,
        "min_cosine": float(cosines.min()),
    }


def speed_bars(name: str, found: dict[str, Any], backend: str = "torch") -> list[Bar]:
    """Return the bars of issue 3 on speed and exactness for one set of texts."""
    bars = []
    wanted = {"float32": (1.2, 0.99999, 0.8), "bfloat16": (2.0, 0.9999, 0.6)}
    for dtype, (ratio, cosine, share) in wanted.items():
        side = found["sides"].get(f"{backend} {dtype}")
        if side is None:
            continue
        label = f"{name}, {backend} {dtype}"
        bars += [
            Bar(f"{label}: against sentence-transformers", side["ratio"], "at least", ratio, "x"),
            Bar(f"{label}: min cosine to it", side["min_cosine"], "at least", cosine, ""),
            Bar(f"{label}: share of peak", side["share_of_peak"], "at least", share, ""),
        ]
    return bars


def padding_bars() -> list[Bar]:
    """Return how much of each whole set is padding, at the default budget; no model runs."""
    bars = []
    for name in TEXTS:
        encoder = CountingEncoder(max_tokens=MAX_TOKENS)
        pipeline = EncodePipeline(encoder, budget=default_budget("cpu"))
        pipeline.encode(load_texts(name))
        share = pipeline.statistics.padding_share
        bars.append(Bar(f"{name}: padding", share, "at most", 0.05, "of tokens"))
    return bars


class CountingEncoder(TransformerTextEncoder):
    """Tokenises and batches like its parent, and computes nothing."""

    def load(self) -> None:
        """Need no weights."""

    def forward(self, batch: Sequence[Any]) -> Any:
        """Return the same direction for all."""
        return np.ones((len(batch), self.dim), np.float32)


def single_process_bars() -> tuple[list[Bar], dict[str, Any]]:
    """Return all bars that need no Spark, and the figures behind them."""
    details = {name: measure(name, count) for name, count in TEXTS.items()}
    bars = [bar for name, found in details.items() for bar in speed_bars(name, found)]
    return bars + padding_bars(), details


def main() -> None:
    """Measure everything and hold it against the bars."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    bars, details = single_process_bars()
    finish("encode", bars, details)


if __name__ == "__main__":
    main()
