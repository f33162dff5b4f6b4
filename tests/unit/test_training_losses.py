"""Each loss and its gradient against the formula as plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from sail_features.training.losses import streamed as module
from sail_features.training.losses.cosent import cosent
from sail_features.training.losses.in_context import in_context_loss
from sail_features.training.losses.info_nce import Hard, info_nce
from sail_features.training.losses.late_fusion import LateFusionGate
from sail_features.training.losses.matryoshka import sum_over_prefixes
from sail_features.training.losses.temperature import Temperature

PAIRS, DIM, HARD = 7, 5, 3
SCALE = torch.tensor(4.0)


def rows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float32).requires_grad_()


def cosine(a, b):
    return (a @ b) / (a.norm() * b.norm())


def looped_nce(queries, targets, known=(), valid=None, hard=None):
    """Return the loss, one exponential at a time."""
    valid = [True] * len(queries) if valid is None else valid
    total, counted = 0.0, 0
    for i in range(len(queries)):
        if not valid[i]:
            continue
        counted += 1
        for anchors, others, pairs in (
            (queries, targets, set(known)),
            (targets, queries, {(t, q) for q, t in known}),
        ):
            positive = torch.exp(SCALE * cosine(anchors[i], others[i]))
            below = positive
            for j in range(len(queries)):
                if j != i and valid[j] and (i, j) not in pairs:
                    below = below + torch.exp(SCALE * cosine(anchors[i], others[j]))
            if hard is not None and anchors is queries:
                for k in range(HARD):
                    if hard.there[i, k]:
                        cos = cosine(queries[i], hard.vectors[i, k])
                        below = below + torch.exp(SCALE * cos)
            total = total - torch.log(positive / below) / 2
    return total / counted


def assert_same(found, expected, *inputs):
    """Compare two losses and their gradients by each input."""
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found, inputs)
    theirs = torch.autograd.grad(expected, inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block", [128, 2])
def test_info_nce_is_its_formula(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    q, t, negatives = rows(PAIRS, DIM), rows(PAIRS, DIM, seed=1), rows(PAIRS, HARD, DIM, seed=2)
    hard = Hard(negatives, torch.rand(PAIRS, HARD, generator=torch.Generator()) < 0.7)
    known, valid = [(0, 3), (3, 1), (6, 6)], [True, True, False, True, True, True, True]
    found = info_nce(q, t, SCALE, known=torch.tensor(known).T, valid=torch.tensor(valid), hard=hard)
    assert_same(found, looped_nce(q, t, known, valid, hard), q, t, negatives)


def test_a_batch_without_a_valid_pair_costs_nothing_and_has_no_nan():
    q, t = rows(3, DIM), rows(3, DIM, seed=1)
    loss = info_nce(q, t, SCALE, valid=torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(q.grad).all()


def test_matryoshka_is_the_sum_over_prefixes():
    q, t = rows(PAIRS, DIM), rows(PAIRS, DIM, seed=1)
    found = sum_over_prefixes(lambda a, b: info_nce(a, b, SCALE), (2, DIM), q, t)
    assert_same(found, looped_nce(q[:, :2], t[:, :2]) + looped_nce(q, t), q, t)


def test_cosent_is_its_formula():
    q, t, grades = rows(PAIRS, DIM), rows(PAIRS, DIM, seed=1), torch.tensor([3.0, 1, 1, 2, 0, 3, 2])
    cosines = [cosine(q[i], t[i]) for i in range(PAIRS)]
    total = 1.0
    for i in range(PAIRS):
        for j in range(PAIRS):
            if grades[i] > grades[j]:
                total = total + torch.exp(SCALE * (cosines[j] - cosines[i]))
    assert_same(cosent(q, t, grades, SCALE), torch.log(total), q, t)


def test_in_context_sums_over_the_modalities_that_both_sides_have():
    sides = [{m: rows(PAIRS, DIM, seed=s + k) for k, m in enumerate("ab")} for s in (0, 10)]
    sides[0]["c"] = rows(PAIRS, DIM)
    have = {m: torch.tensor([m != "a" or n != 2 for n in range(PAIRS)]) for m in "ab"}
    found = in_context_loss(*sides, have, lambda q, t, v: info_nce(q, t, SCALE, valid=v))
    expected = sum(looped_nce(sides[0][m], sides[1][m], valid=have[m]) for m in "ab")
    assert_same(found, expected, sides[0]["a"], sides[1]["b"])


def test_the_late_fusion_gate_mixes_number_by_number():
    gate = LateFusionGate(DIM)
    seen, vector = rows(PAIRS, DIM).detach(), rows(PAIRS, DIM, seed=1).detach()
    torch.testing.assert_close(gate(seen, vector), (seen + vector) / 2)
    with torch.no_grad():
        gate.gate.weight[0, DIM], gate.gate.bias[0] = 1.0, 0.5
    mixed = gate(seen, vector).detach()
    for row in range(PAIRS):
        share = 1 / (1 + math.exp(-(float(vector[row, 0]) + 0.5)))
        expected = share * float(seen[row, 0]) + (1 - share) * float(vector[row, 0])
        assert float(mixed[row, 0]) == pytest.approx(expected, abs=1e-5)


def test_a_temperature_starts_where_it_is_told_and_stops_at_its_least():
    temperature = Temperature(0.05)
    assert temperature().item() == pytest.approx(20, rel=1e-5)
    with torch.no_grad():
        temperature.log_scale.fill_(9.0)
    assert temperature().item() == 100


def test_the_cosines_of_a_query_and_its_target_rise_by_a_step_of_the_gradient():
    q, t = rows(PAIRS, DIM), rows(PAIRS, DIM, seed=1)
    gradient = torch.autograd.grad(info_nce(q, t, SCALE), q)[0]
    after = cosine_similarity(q - gradient, t, dim=1)
    assert after.mean() > cosine_similarity(q, t, dim=1).mean()
