"""What titles, pictures and sounds are worth: a study of inputs where the truth is planted.

In the synthetic world each item's text, picture and sound carry its sub-topics, and clicks
depend on how well these match the user. Texts are encoded by the real MiniLM. No model of
pictures or sounds comes with the machine, so these are described by hand: colours by their
histogram, sounds by the power in bands of pitch. Early fusion is one vector of all three,
late fusion the features of each side by side. Permuted vectors of all three stand for
chance. Takes about three minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.train_judge import BASELINE, Judge
from ranking_eval import split_rows
from ranking_eval.cost import GivenCost
from ranking_eval.report import write_study
from ranking_eval.study import Study, Subset, run_study
from ranking_eval.table import print_study
from sail_features import columns as c
from sail_features.config import EncoderConfig, EvalConfig
from sail_features.datasets.dataset import Dataset
from sail_features.datasets.synthetic import SyntheticConfig, build_synthetic
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.history import ids_of, us_of

Floats = NDArray[np.float32]
REPORT: Final = Path(__file__).parents[1] / "build" / "media_study"
CONFIG: Final = EvalConfig(seeds=(0, 1, 2), slices=())
COLOURS: Final = 4
"""Steps of red, of green and of blue."""
BANDS: Final = 64
SUBSETS: Final = {
    "none": (),
    "title": ("title",),
    "picture": ("picture",),
    "sound": ("sound",),
    "picture + sound, late": ("picture", "sound"),
    "all, early": ("all",),
    "all, late": ("title", "picture", "sound"),
    "all, permuted": ("permuted",),
}
"""The embeddings whose features each subset sees."""


def describe_picture(path: str) -> Floats:
    """Return how much of a picture has each colour, shape (COLOURS ** 3,)."""
    with Image.open(path) as picture:
        steps = np.asarray(picture.convert("RGB"), np.int64).reshape(-1, 3) * COLOURS // 256
    codes = steps @ [COLOURS**2, COLOURS, 1]
    return np.sqrt(np.bincount(codes, minlength=COLOURS**3) / len(codes)).astype(np.float32)


def describe_sound(path: str) -> Floats:
    """Return the logarithm of a sound's power in bands of pitch, shape (BANDS,)."""
    samples, rate = soundfile.read(path, dtype="float32")
    power = np.abs(np.fft.rfft(samples)) ** 2
    pitch = np.fft.rfftfreq(len(samples), 1 / rate)
    edges = np.geomspace(100, rate / 2, BANDS + 1)
    summed = np.add.reduceat(power, np.searchsorted(pitch, edges[:-1]))
    return np.log(summed + 1e-6).astype(np.float32)


def encode_all(dataset: Dataset) -> tuple[dict[str, Floats], dict[str, float]]:
    """Return unit vectors of all items by input, and the seconds a 1,000 items took."""
    items = dataset.items
    minilm = build_encoder(EncoderConfig())
    ways: Mapping[str, Callable[[], Any]] = {
        "title": lambda: encode_or_raise(minilm, items[c.TITLE].to_pylist()),
        "picture": lambda: [describe_picture(path) for path in items[c.IMAGE_PATH].to_pylist()],
        "sound": lambda: [describe_sound(path) for path in items[c.AUDIO_PATH].to_pylist()],
    }
    vectors, costs = {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        found = np.asarray(way(), np.float32)
        costs[name] = 1e3 * (time.perf_counter() - began) / items.num_rows
        vectors[name] = normalise(found - found.mean(axis=0))
    vectors["all"] = normalise(np.concatenate(list(vectors.values()), axis=1))
    return vectors, costs | {"all": sum(costs.values()), "permuted": sum(costs.values())}


def as_tables(dataset: Dataset, vectors: Mapping[str, Floats]) -> dict[str, EmbeddingTable]:
    """Return the vectors as tables, each known since its item was; permuted ones too."""
    ids, times = ids_of(dataset.items[c.ITEM_ID]), us_of(dataset.items[c.EVENT_TIMESTAMP])
    order = np.argsort(ids)
    tables = {
        name: EmbeddingTable(ids[order], found[order], name, times[order])
        for name, found in vectors.items()
    }
    return tables | {"permuted": tables["all"].permuted(0)}


def main() -> None:
    """Run the study, write its report, and hold it against its bars."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_synthetic(SyntheticConfig(media=Path(folder)))
        vectors, costs = encode_all(dataset)
    shown = dataset.impressions
    warm = split_rows(shown[c.EVENT_TIMESTAMP], shown[c.LABEL], CONFIG).warmup_end
    rows, columns = Judge(dataset, warm, CONFIG).join(as_tables(dataset, vectors))
    subsets = tuple(
        Subset(
            name,
            tuple(column for one in embeddings for column in columns[one]),
            GivenCost(encode_s_per_1k_items=sum(costs[one] for one in embeddings)),
        )
        for name, embeddings in SUBSETS.items()
    )
    study = Study("synthetic: title, picture and sound", BASELINE, subsets, CONFIG)
    found = run_study(rows, study, lambda sentence: print(sentence, flush=True))
    gains = found.gains()
    print_study(found.summary(), Console())
    print(f"report: {write_study(found, study, REPORT)}")
    weakest = min(gains[name].low for name in ("title", "picture", "sound"))
    bars = [
        Bar("empty subset less control", abs(gains["none"].delta), "at most", 0, "AUC"),
        Bar("the weakest input alone, its interval's end", weakest, "at least", 0, "AUC"),
        Bar("all, permuted: its interval's end", gains["all, permuted"].low, "at most", 0, "AUC"),
    ]
    finish("media_study", bars, found.summary()["subsets"])


if __name__ == "__main__":
    main()
