"""What is learned from behaviour: ID embeddings, sequence to item, ID to item, and no future."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
import torch
import worlds
from worlds import at

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.encoders.omni.model import OmniModel
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.errors import InputError, LeakageError
from sail_features.training.collaborative_ids import FACTORISE, IdSettings, train_ids
from sail_features.training.engagements import select_engagements
from sail_features.training.evaluation.ranks import nearest
from sail_features.training.id_to_item import IdToItem
from sail_features.training.loop import train
from sail_features.training.objective import TOTAL
from sail_features.training.sequence_encoder import MeanPooling, SequenceTransformer
from sail_features.training.sequence_to_item import SequenceToItem
from sail_features.training.sequences import ABSENT, LENGTH, Sequences, build_sequences
from sail_features.training.settings import TrainSettings

UNTIL = at(20)
FAST = TrainSettings(steps=25, batch_size=24, warmup_steps=2, learning_rate=1e-2)
ITEMS = np.array([f"i{number:02d}" for number in range(40)])
GROUP = np.arange(40) % 4
"""Users of a group take its items; content tells the group, hidden in noise."""


def draw_events(seed=0, users=60, first_day=0.0, days=20.0, group=GROUP):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        liked = np.flatnonzero(group == user % 4)
        rows += [
            (f"u{user:02d}", ITEMS[item], at(first_day + days * rng.random()), 1.0)
            for item in rng.choice(liked, 8, replace=False)
        ]
    return rows


def draw_inputs(seed=0, group=GROUP):
    rng = np.random.default_rng(seed)
    told = np.eye(4)[group] + 0.3 * rng.normal(size=(40, 4))
    noise = 1.5 * rng.normal(size=(40, 8))
    return ItemInputs.from_arrays(ITEMS, {"text": np.concatenate([told, noise], axis=1)})


def engage(rows, until=UNTIL):
    return select_engagements(worlds.events(rows), ITEMS, trained_until=until)


def build_model(inputs, seed=0):
    torch.manual_seed(seed)
    settings = OmniSettings(hidden=16, layers=1, heads=2, matryoshka=(8, 16))
    return OmniModel(inputs.bind(settings))


def take_all(past, rng):
    return np.arange(len(past.item))[-LENGTH:]


def test_each_family_puts_items_of_the_same_users_beside_each_other():
    log = engage(draw_events())
    for family in FACTORISE:
        table = train_ids(log, IdSettings(family=family, dim=8, min_support=3))
        rows = log.item_ids.searchsorted(table.ids)
        around = GROUP[rows][nearest(table.vectors, table.vectors, 5, skip_own=True)]
        assert (around == GROUP[rows][:, None]).mean() > 0.9, family
        assert set(table.available_at_us) == {int(UNTIL.timestamp() * 1e6)}


def test_an_item_below_the_support_has_no_id_embedding():
    rows = [row for row in draw_events() if row[1] != "i07"]
    rows += [("u00", "i07", at(1), 1.0), ("u00", "i07", at(2), 1.0), ("u01", "i07", at(2), 1.0)]
    table = train_ids(engage(rows), IdSettings(dim=8, min_support=3))
    assert "i07" not in table.ids
    assert "i08" in table.ids


def test_too_few_supported_items_are_an_error():
    with pytest.raises(InputError, match="40 items have 3 users or more, too few"):
        train_ids(engage(draw_events()), IdSettings(dim=64, min_support=3))


def test_id_embeddings_are_the_same_again_and_named_by_what_made_them():
    log, settings = engage(draw_events()), IdSettings(family="bpr", dim=8, min_support=3)
    one, again = train_ids(log, settings), train_ids(log, settings)
    assert np.array_equal(one.vectors, again.vectors)
    other = train_ids(log, settings.model_copy(update={"seed": 1}))
    assert len({one.encoder_id, again.encoder_id, other.encoder_id}) == 2


def naive_sequence_loss(model, inputs, drawn, scale):
    """Return the loss by loops over rows."""
    total = 0.0
    for size in model.settings.matryoshka:
        vectors = torch.nn.functional.normalize(model(inputs.take(np.arange(40))).fused, dim=1)
        mean = [
            torch.stack([vectors[item] for item in query if item != ABSENT]).mean(dim=0)[:size]
            for query in drawn.query
        ]
        goal = [vectors[item][:size] for item in drawn.target]
        cosine = torch.nn.functional.cosine_similarity
        for row in range(len(drawn)):
            for ours, theirs, forward in ((mean, goal, True), (goal, mean, False)):
                own = cosine(ours[row], theirs[row], dim=0) * scale
                logits = [own]
                for other in range(len(drawn)):
                    asking, asked = (row, other) if forward else (other, row)
                    known = (
                        drawn.target[asked] == drawn.target[asking]
                        or drawn.user[asked] == drawn.user[asking]
                        or drawn.target[asked] in drawn.query[asking]
                    )
                    if not known:
                        logits.append(cosine(ours[row], theirs[other], dim=0) * scale)
                total += torch.logsumexp(torch.stack(logits), dim=0) - own
    return total / (2 * len(drawn) * len(model.settings.matryoshka))


def test_sequence_loss_is_that_of_a_loop_over_pairs():
    inputs, log = draw_inputs(), engage(draw_events())
    objective = SequenceToItem(inputs, build_sequences(log, take_all, seed=0))
    model = build_model(inputs)
    drawn = objective.draw(np.random.default_rng(3), 24)
    assert len(np.unique(drawn.target)) < 24 or len(np.unique(drawn.user)) < 24
    loss = objective.loss(model, drawn)[TOTAL]
    expected = naive_sequence_loss(model, inputs, drawn, objective.extra.temperature())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_sequence_loss_works_where_every_query_is_full():
    inputs = draw_inputs()
    query = np.stack([np.arange(10), np.arange(10, 20)])
    objective = SequenceToItem(inputs, Sequences(query, np.array([30, 31]), np.array([0, 1])))
    model = build_model(inputs)
    drawn = objective.sequences
    expected = naive_sequence_loss(model, inputs, drawn, objective.extra.temperature())
    assert objective.loss(model, drawn)[TOTAL].item() == pytest.approx(expected.item(), rel=1e-5)


def test_sequence_transformer_begins_at_the_mean_and_reads_only_what_is_there():
    torch.manual_seed(0)
    items = torch.nn.functional.normalize(torch.randn(5, LENGTH, 16), dim=2)
    present = torch.arange(LENGTH) < torch.tensor([1, 3, 5, 9, 10])[:, None]
    encoder = SequenceTransformer(16, heads=2).eval()
    assert torch.allclose(encoder(items, present), MeanPooling()(items, present), atol=1e-6)
    torch.nn.init.normal_(encoder.out.weight)
    changed = torch.where(present[..., None], items, torch.randn(5, LENGTH, 16))
    assert torch.allclose(encoder(items, present), encoder(changed, present), atol=1e-5)
    assert not torch.allclose(encoder(items, present), MeanPooling()(items, present), atol=1e-2)


def group_recall(model, inputs):
    """Return how much more alike items of a group are than others."""
    with torch.no_grad():
        vectors = model(inputs.take(np.arange(40))).fused
    around = nearest(vectors.numpy(), vectors.numpy(), 5, skip_own=True)
    return float((GROUP[around] == GROUP[:, None]).mean())


@pytest.mark.parametrize("pooling", [None, "transformer"])
def test_sequences_teach_what_users_have_in_common(tmp_path, pooling):
    inputs, log = draw_inputs(), engage(draw_events())
    model = build_model(inputs)
    before = group_recall(model, inputs)
    encoder = SequenceTransformer(16, heads=2) if pooling else None
    objective = SequenceToItem(inputs, build_sequences(log, take_all, seed=0), encoder)
    train(model, [objective], [1], FAST, tmp_path)
    assert group_recall(model, inputs) > before + 0.2


@pytest.mark.parametrize("form", ["contrast", "regression"])
def test_ids_teach_what_users_have_in_common(tmp_path, form):
    inputs, log = draw_inputs(), engage(draw_events())
    model = build_model(inputs)
    before = group_recall(model, inputs)
    teachers = [train_ids(log, IdSettings(family=f, dim=8, min_support=3)) for f in ("als", "ppmi")]
    content = SequenceToItem(inputs, build_sequences(log, take_all, seed=0))
    objective = IdToItem(
        inputs, teachers, hidden=16, trained_until=UNTIL, auxiliary=content, form=form
    )
    train(model, [objective], [1], FAST, tmp_path)
    assert group_recall(model, inputs) > before + 0.2
    losses = objective.loss(model, objective.draw(np.random.default_rng(0), 32))
    parts = losses["distilled"] + losses["auxiliary"]
    assert losses[TOTAL].item() == pytest.approx(parts.item())


def test_an_item_without_a_teacher_or_content_is_never_drawn():
    rows = [row for row in draw_events() if row[1] != "i07"]
    vectors = draw_inputs().vectors["text"].values.copy()
    vectors[8] = np.nan
    inputs = ItemInputs.from_arrays(ITEMS, {"text": vectors})
    table = train_ids(engage(rows), IdSettings(dim=8, min_support=3))
    objective = IdToItem(inputs, [table], hidden=16, trained_until=UNTIL)
    drawn = objective.draw(np.random.default_rng(0), 64).rows
    assert sorted(drawn) == [row for row in range(40) if row not in (7, 8)]


def test_a_teacher_trained_later_than_the_encoder_is_refused():
    table = train_ids(engage(draw_events()), IdSettings(dim=8, min_support=3))
    with pytest.raises(LeakageError, match=r"als-.*until 2024-03-21 .*trained_until 2024-03-20"):
        IdToItem(draw_inputs(), [table], hidden=16, trained_until=UNTIL - timedelta(days=1))


def test_sequences_of_items_without_content_are_refused():
    vectors = draw_inputs().vectors["text"].values.copy()
    vectors[8] = np.nan
    inputs = ItemInputs.from_arrays(ITEMS, {"text": vectors})
    sequences = build_sequences(engage(draw_events()), take_all, seed=0)
    with pytest.raises(InputError, match=r"without content: 1 items .*i08"):
        SequenceToItem(inputs, sequences)


def test_no_sequence_is_an_error():
    nobody = Sequences(np.empty((0, LENGTH), np.int64), *(np.empty(0, np.int64),) * 2)
    with pytest.raises(InputError, match="0 sequences, of two at least"):
        SequenceToItem(draw_inputs(), nobody)


def enhance(rows, folder):
    """Return the weights after both steps on these events."""
    inputs, log = draw_inputs(), engage(rows)
    model, settings = build_model(inputs), TrainSettings(steps=5, batch_size=16, warmup_steps=1)
    sequences = SequenceToItem(inputs, build_sequences(log, take_all, seed=0))
    train(model, [sequences], [1], settings, folder / "sequences")
    teachers = [train_ids(log, IdSettings(family=f, dim=8, min_support=3)) for f in FACTORISE]
    ids = IdToItem(
        inputs, teachers, hidden=16, trained_until=log.trained_until, auxiliary=sequences
    )
    train(model, [ids], [1], settings, folder / "ids")
    return model.state_dict()


def test_noise_for_all_events_at_or_after_the_end_leaves_the_weights_bit_identical(tmp_path):
    past = draw_events()
    later = draw_events(1, first_day=20.0)
    noise = draw_events(
        2, users=90, first_day=20.0, group=np.random.default_rng(0).permutation(GROUP)
    )
    noise += [("a", "i00", UNTIL, 1.0), ("zz", "i01", UNTIL, 5.0)]
    one = enhance(past + later, tmp_path / "one")
    other = enhance(noise + past, tmp_path / "other")
    moved = enhance(past[1:], tmp_path / "moved")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], moved[name]) for name in one)
