"""The shipped suites catch what they promise to catch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pytest

from sail_features.embeddings import normalise
from sail_features.encoders.hashing import HashEncoder
from sail_features.match.block import weighted_mean
from sail_features.match.contrast import Contrast
from sail_features.testing.encoder_suite import check_text_encoder
from sail_features.testing.match_feature_suite import check_match_feature
from sail_features.testing.oracles import naive_history_counts, oracle_of

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
        return weighted_mean(block.similarity, block.seen.astype(np.float32))[:, None]


class OfPadding(Mean):
    def compute(self, block):
        masked = np.where(block.seen, block.similarity, 0)
        return masked.mean(axis=1, keepdims=True)


class OfEmptySlots(Mean):
    def compute(self, block):
        return (block.similarity * block.seen).sum(axis=1, keepdims=True)


class OfOtherRows(Mean):
    def compute(self, block):
        values = super().compute(block)
        return values - np.nanmax(values, initial=0)


class OfRowNumber(Mean):
    def compute(self, block):
        return super().compute(block) + np.arange(len(block.seen), dtype=np.float32)[:, None]


class Infinite(Mean):
    def compute(self, block):
        masked = np.where(block.seen, block.similarity, -np.float32(np.inf))
        return masked.max(axis=1, keepdims=True, initial=-np.float32(np.inf))


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
        block.similarity[~block.seen] = 0
        return super().compute(block)


@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [
        (OfPadding, "more empty slots"),
        (OfEmptySlots, "in an empty slot changes a value"),
        (OfOtherRows, "depend on other rows"),
        (OfRowNumber, "permuted rows"),
        (Infinite, "infinite"),
        (Zero, "an empty history gives"),
        (Long, "float64"),
        (TooManyColumns, "shape"),
        (Scribbling, "changed its block"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_faulty_feature_is_caught(faulty, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_match_feature(faulty())


def test_wrong_numbers_are_caught_by_an_oracle():
    check_match_feature(Mean())
    check_match_feature(Mean(), lambda s, w, a: [sum(s) / len(s) if s else np.nan])
    with pytest.raises(AssertionError, match="row 0 differs from the oracle"):
        check_match_feature(Mean(), lambda s, w, a: [0.0])


def test_unknown_feature_has_no_oracle():
    with pytest.raises(TypeError, match="no oracle for Mean"):
        oracle_of(Mean())
    assert oracle_of(Contrast())([0.5], [1], [1])[0] != 0


def test_oracle_of_an_empty_history():
    assert naive_history_counts([], [], [])[:3] == [0, 0, 0]
