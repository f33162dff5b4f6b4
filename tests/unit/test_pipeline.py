"""The pipeline that drives encoders: order, budgets, poison rows and lack of memory.

`Fake` isn't a model: it turns numbers into directions and fails where told to, so that
faults of a device can be tried without one.
"""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.encoders.budget import LEAST_TOKENS, tune_budget
from sail_features.encoders.faults import is_device_lost, is_out_of_memory
from sail_features.encoders.hashing import HashEncoder
from sail_features.encoders.pipeline import (
    NOT_FINITE,
    EncodePipeline,
    encode_contents,
    encode_or_raise,
    iter_windows,
)
from sail_features.encoders.protocol import Refusal
from sail_features.errors import InputError, ModelError

NO_MEMORY = [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp",
    "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
    "HIP out of memory",
]


BAD_ROW = ValueError("bad row")


class Fake:
    """An encoder of positive numbers, each as long as its value in tokens."""

    encoder_id, dim, trained_until, device, window_rows = "fake", 4, None, "cpu", 8

    def __init__(self, *, memory=10**9, poison=(), error=BAD_ROW, text=NO_MEMORY[0]):
        self.memory, self.poison, self.error, self.text = memory, set(poison), error, text
        self.batches, self.threads = [], set()

    def load(self):
        pass

    def prepare(self, contents):
        self.threads.add(threading.current_thread().name.partition("_")[0])
        return [Refusal("negative") if content < 0 else content for content in contents]

    def cost(self, prepared):
        return prepared

    def forward(self, batch):
        if len(batch) * max(batch) > self.memory:
            raise RuntimeError(self.text)
        if self.poison & set(batch):
            raise self.error
        self.batches.append(list(batch))
        angles = np.array(batch, np.float32)
        return np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)


def expected(numbers):
    return np.array([[np.cos(n), np.sin(n), 0, 0] for n in numbers], np.float32).reshape(-1, 4)


@given(st.lists(st.integers(-3, 60), max_size=40), st.integers(1, 200), st.sets(st.integers(1, 60)))
def test_every_row_gets_its_own_vector_or_its_own_reason(numbers, budget, poison):
    encoded = encode_contents(Fake(poison=poison), numbers, budget=budget)
    for number, vector, reason in zip(numbers, encoded.vectors, encoded.reasons, strict=True):
        if number < 0:
            assert reason == "negative"
        elif number in poison:
            assert reason == "ValueError: bad row"
        else:
            assert reason is None
            assert np.allclose(vector, expected([number])[0], atol=1e-6)
        assert np.isnan(vector).all() == (reason is not None)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(60, 200))
def test_batches_are_longest_first_and_within_the_budget(numbers, budget):
    fake = Fake()
    pipeline = EncodePipeline(fake, budget=budget)
    pipeline.encode(numbers)
    assert [n for batch in fake.batches for n in batch] == sorted(numbers, reverse=True)
    assert all(len(batch) * max(batch) <= budget for batch in fake.batches)
    seen = pipeline.statistics
    assert seen.real_tokens == sum(numbers)
    assert seen.padded_tokens == sum(len(batch) * max(batch) for batch in fake.batches)
    assert (seen.items, seen.batches, seen.budget) == (len(numbers), len(fake.batches), budget)


@pytest.mark.parametrize("text", NO_MEMORY)
def test_lack_of_memory_halves_the_budget_for_good(text):
    fake = Fake(memory=100, text=text)
    pipeline = EncodePipeline(fake, budget=1000)
    numbers = list(range(1, 60))
    assert np.allclose(pipeline.encode(numbers).vectors, expected(numbers), atol=1e-6)
    lowered, failures = pipeline.statistics.budget, pipeline.statistics.out_of_memory
    assert 25 <= lowered <= 100
    assert failures >= 3
    assert np.allclose(pipeline.encode(numbers).vectors, expected(numbers), atol=1e-6)
    assert pipeline.statistics.out_of_memory == failures
    assert pipeline.statistics.budget == lowered


def test_row_that_does_not_fit_alone_is_refused_and_costs_the_others_no_budget():
    pipeline = EncodePipeline(Fake(memory=100), budget=100)
    assert pipeline.encode([500, 10, 3]).reasons == ["out of memory", None, None]
    assert pipeline.statistics.budget == 100


def test_poison_rows_are_found_by_halving_not_one_by_one():
    fake = Fake(poison={7})
    numbers = [7] + [5] * 127
    assert encode_contents(fake, numbers, budget=10**6).reasons == [
        "ValueError: bad row", *[None] * 127,
    ]  # fmt: skip
    fake.window_rows, fake.batches = 128, []
    encode_contents(fake, numbers, budget=10**6)
    assert len(fake.batches) == 7


def test_vector_that_is_not_finite_is_refused():
    class Broken(Fake):
        def forward(self, batch):
            vectors = super().forward(batch)
            vectors[[n == 3 for n in batch]] = np.inf
            vectors[[n == 4 for n in batch]] = 0
            return vectors

    assert encode_contents(Broken(), [3, 4, 5]).reasons == [NOT_FINITE, NOT_FINITE, None]


def test_lost_device_is_no_fault_of_a_row():
    lost = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(RuntimeError, match="device-side assert"):
        encode_contents(Fake(poison={2}, error=lost), [1, 2, 3])
    assert not is_out_of_memory(lost)
    assert not is_device_lost(RuntimeError("CUDA driver error: out of memory"))


def test_broken_model_is_no_fault_of_a_row():
    error = ModelError.not_found("m", "no weights")
    with pytest.raises(ModelError):
        encode_contents(Fake(poison={2}, error=error), [1, 2, 3])


def test_memory_error_of_python_and_of_torch_are_known():
    torch = pytest.importorskip("torch")
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("any words"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("out of memory"))


# ---- streams


def test_windows_come_in_order_and_are_prepared_in_another_thread():
    fake = Fake()
    windows = [[1, 2], [], [-1, 3]]
    found = list(EncodePipeline(fake, budget=64).stream(iter(windows), lambda window: window))
    assert [window for window, _ in found] == windows
    assert [encoded.reasons for _, encoded in found] == [[None] * 2, [], ["negative", None]]
    assert fake.threads == {"prepare"}


def test_next_window_is_prepared_while_the_device_computes():
    """Each side waits for the other: without overlap this would time out."""
    second_prepared = threading.Event()

    class Waiting(Fake):
        def prepare(self, contents):
            if contents == [2]:
                second_prepared.set()
            return super().prepare(contents)

        def forward(self, batch):
            if batch == [1] and not second_prepared.wait(10):
                raise TimeoutError
            return super().forward(batch)

    found = EncodePipeline(Waiting(), budget=64).stream([[1], [2]], lambda window: window)
    assert [encoded.reasons for _, encoded in found] == [[None], [None]]


def test_only_one_window_is_read_ahead():
    read = []

    def source():
        for number in range(1, 100):
            read.append(number)
            yield [number]

    stream = EncodePipeline(Fake(), budget=64).stream(source(), lambda window: window)
    for _ in range(3):
        next(stream)
    stream.close()
    assert len(read) <= 5


def test_error_of_the_source_comes_after_the_windows_before_it():
    def source():
        yield [1]
        raise OSError("the table went away")

    stream = EncodePipeline(Fake(), budget=64).stream(source(), lambda window: window)
    assert next(stream)[0] == [1]
    with pytest.raises(OSError, match="the table went away"):
        next(stream)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12))
def test_arrow_windows_hold_every_row_once(sizes, rows):
    first = np.cumsum([0, *sizes])
    batches = [
        pa.record_batch({"n": np.arange(begin, begin + size)})
        for begin, size in zip(first, sizes, strict=False)
    ]
    windows = list(iter_windows(batches, rows))
    numbers = [n for window in windows for piece in window for n in piece["n"].to_pylist()]
    assert numbers == list(range(sum(sizes)))
    held = [sum(piece.num_rows for piece in window) for window in windows]
    assert all(rows <= n < 2 * rows for n in held[:-1])
    assert all(n < 2 * rows for n in held)


def test_arrow_windows_are_bounded_in_bytes():
    batches = [pa.record_batch({"blob": [b"x" * 1000]}) for _ in range(10)]
    assert [len(window) for window in iter_windows(batches, 100, max_bytes=3000)] == [3, 3, 3, 1]


# ---- budgets


def test_probe_chooses_the_fastest_budget_and_is_recorded():
    fake = Fake()
    fake.window_rows = 10**6
    pipeline = EncodePipeline(fake)
    pipeline.encode([64] * 10)
    assert pipeline.statistics.probed == {}
    pipeline.encode([64] * (LEAST_TOKENS["cpu"] // 64 + 1))
    rates = pipeline.statistics.probed
    assert sorted(rates) == [1024, 2048, 4096]
    assert pipeline.statistics.budget == max(rates, key=rates.__getitem__)


def test_budget_that_does_not_fit_is_not_chosen():
    tuned = tune_budget(Fake(memory=2048), [64] * (LEAST_TOKENS["cpu"] // 64 + 1))
    assert tuned is not None
    assert tuned.rates[4096] == 0
    assert tuned.budget in (1024, 2048)


def test_given_budget_is_not_probed():
    pipeline = EncodePipeline(Fake(), budget=77)
    pipeline.encode([64] * (LEAST_TOKENS["cpu"] // 64 + 1))
    assert (pipeline.statistics.budget, pipeline.statistics.probed) == (77, {})


# ---- the short form


def test_short_form_raises_for_a_refused_row():
    with pytest.raises(InputError, match=r"1 of 2 contents can't be encoded: 1 \(no text\)"):
        encode_or_raise(HashEncoder(), ["red wine", ""])


def test_no_contents_give_no_vectors():
    assert encode_or_raise(HashEncoder(8), []).shape == (0, 8)
    assert encode_or_raise(HashEncoder(8), ["a", "b"]).dtype == np.float32
