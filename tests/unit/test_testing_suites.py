"""The shipped suites catch what they promise to catch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pytest

from sail_features.embeddings import normalise
from sail_features.encoders.hashing import HashEncoder
from sail_features.match.contrast import Contrast
from sail_features.match.past import Past, PastEvent
from sail_features.testing.encoder_suite import check_text_encoder
from sail_features.testing.feature_oracles import naive_history_counts, oracle_of
from sail_features.testing.match_feature_suite import check_match_feature

# ---- encoders, each with one fault


class Sorting(HashEncoder):
    def encode(self, texts):
        return super().encode(sorted(texts))


class OfItsBatch(HashEncoder):
    def encode(self, texts):
        vectors = super().encode(texts)
        return normalise(vectors - 0.1 * vectors.mean(axis=0)) if len(texts) else vectors


class NotUnit(HashEncoder):
    def encode(self, texts):
        return 2 * super().encode(texts)


class Double(HashEncoder):
    def encode(self, texts):
        return super().encode(texts).astype(np.float64)


class Blind(HashEncoder):
    def encode(self, texts):
        return super().encode(["same"] * len(texts))


class Missing(HashEncoder):
    def encode(self, texts):
        vectors = super().encode(texts)
        vectors[:1] = np.nan
        return vectors


class Unseeded(HashEncoder):
    def encode(self, texts):
        noise = 0.1 * np.random.default_rng().standard_normal(self.dim).astype(np.float32)
        return normalise(super().encode(texts) + noise)


class NeedsTexts(HashEncoder):
    def encode(self, texts):
        return super().encode(texts) if texts else np.zeros((0, 1), np.float32)


class Nameless(HashEncoder):
    @property
    def encoder_id(self):
        return " "


class Renamed(HashEncoder):
    @property
    def encoder_id(self):
        return str(id(self))


class Zoneless(HashEncoder):
    @property
    def trained_until(self):
        return datetime(2024, 1, 1)


@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [
        (Sorting, "the same text twice|a vector changes"),
        (OfItsBatch, "a vector changes"),
        (NotUnit, "length 1"),
        (Double, "float64"),
        (Blind, "all texts get the same vector"),
        (Missing, "no vector: 'red wine"),
        (Unseeded, "a vector changes"),
        (NeedsTexts, "no texts give shape"),
        (Nameless, "encoder_id is empty"),
        (Renamed, "encoder_id isn't stable"),
        (Zoneless, "trained_until has no zone"),
    ],
)
def test_faulty_encoder_is_caught(faulty, complaint):
    kept = []  # so that no two instances share an address
    with pytest.raises(AssertionError, match=complaint):
        check_text_encoder(lambda: kept.append(faulty(32)) or kept[-1])


# ---- features, each with one fault


@dataclass(frozen=True)
class Mean:
    """A right feature, and what the faulty ones below start from."""

    name: str = "mean"
    version: int = 1
    columns: tuple[str, ...] = ("mean",)

    @property
    def parameters(self):
        return {}

    def compute(self, block):
        values = [block.similarity[row[0] : row[3]].astype(np.float64) for row in block.bounds]
        means = [part.mean() if len(part) else np.nan for part in values]
        return np.array(means, np.float32).reshape(-1, 1)


class OfOtherRows(Mean):
    def compute(self, block):
        values = super().compute(block)
        return values - np.nanmax(values, initial=0)


class OfRowNumber(Mean):
    def compute(self, block):
        return super().compute(block) + np.arange(len(block.bounds), dtype=np.float32)[:, None]


class OfRunningSums(Mean):
    """Right but for rounding that carries from row to row."""

    def compute(self, block):
        sums = np.concatenate([[0], np.cumsum(block.similarity, dtype=np.float32)])
        first, last = block.bounds[:, 0], block.bounds[:, 3]
        count = np.where(last > first, last - first, np.nan).astype(np.float32)
        return ((sums[last] - sums[first]) / count)[:, None].astype(np.float32)


class Infinite(Mean):
    def compute(self, block):
        return np.nan_to_num(super().compute(block), nan=-np.inf)


class Zero(Mean):
    def compute(self, block):
        return np.nan_to_num(super().compute(block), nan=0.5)


class Long(Mean):
    def compute(self, block):
        return super().compute(block).astype(np.float64)


class TooManyColumns(Mean):
    def compute(self, block):
        return np.repeat(super().compute(block), 2, axis=1)


class Scribbling(Mean):
    def compute(self, block):
        values = super().compute(block)
        block.similarity[:] = 0
        return values


@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [
        (OfOtherRows, "permuted rows|depend on other rows"),
        (OfRowNumber, "permuted rows"),
        (OfRunningSums, "permuted rows|depend on other rows"),
        (Infinite, "infinite"),
        (Zero, "an empty history gives"),
        (Long, "float64"),
        (TooManyColumns, "shape"),
        (Scribbling, "changed its block"),
    ],
)
def test_faulty_feature_is_caught(faulty, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_match_feature(faulty())


def naive_mean(past):
    values = [event.similarity for event in past.events]
    return [sum(values) / len(values) if values else np.nan]


def test_wrong_numbers_are_caught_by_an_oracle():
    check_match_feature(Mean(), naive_mean)
    with pytest.raises(AssertionError, match="row 0 differs from the oracle"):
        check_match_feature(Mean(), lambda past: [0.0])


def test_unknown_feature_has_no_oracle():
    with pytest.raises(TypeError, match="no oracle for Mean"):
        oracle_of(Mean())
    assert oracle_of(Contrast())(Past([PastEvent(0.5), PastEvent(0.1, -1)]))[0] == 0.4


def test_oracle_of_an_empty_history():
    assert naive_history_counts(Past())[:3] == [0, 0, 0]
