"""The encode job: each content once, what changed and nothing more, bad rows set aside."""

from __future__ import annotations

import pytest
import worlds
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.embeddings import pack_column
from sail_features.encoders.hashing import HashEncoder
from sail_features.errors import InputError, MissingTableError, QuarantineError
from sail_features.item_vectors import build_embedding_table
from sail_features.schemas import ITEM_EMBEDDING, check_table
from sail_features.spark.encode import QUARANTINE, run_encode

TEA, MUG, POT = "green tea", "a red mug", "iron pot"
FIRST, SECOND, THIRD = at(10), at(20), at(30)


def put_items(store, *rows, as_of=FIRST):
    worlds.publish(store, "items", worlds.items(rows), as_of=as_of)


def vectors_of(store, as_of=None):
    """Return each item's newest vector as bytes."""
    table = build_embedding_table(store.read("item_embedding", as_of), HashEncoder(32).encoder_id)
    return dict(zip(table.ids.tolist(), map(bytes, table.vectors), strict=True))


def expected_vectors(**texts):
    return dict(
        zip(
            texts,
            pack_column(HashEncoder(32).encode(list(texts.values()))).to_pylist(),
            strict=True,
        )
    )


def encoder(**changes):
    section = EncoderConfig.model_validate({**CONFIG.encoder.model_dump(), **changes})
    return CONFIG.model_copy(update={"encoder": section})


def test_each_distinct_content_is_encoded_once_and_never_again(spark, store):
    put_items(store, ("a", at(1), TEA), ("b", at(2), TEA), ("c", at(3), MUG), ("d", at(4), MUG))
    first = run_encode(spark, store, CONFIG, as_of=FIRST)
    assert first.lineage["summary"]["encoded"] == 2
    assert first.rows == 4
    assert first.quarantined == {}
    assert vectors_of(store) == expected_vectors(a=TEA, b=TEA, c=MUG, d=MUG)
    again = run_encode(spark, store, CONFIG, as_of=FIRST)
    assert again.lineage["summary"]["encoded"] == 0
    assert again.fingerprint == first.fingerprint
    assert again.created == first.created


@pytest.mark.parametrize("ids", [str, int])
def test_rows_say_when_they_were_known_and_by_what_they_were_made(spark, store, ids):
    put_items(store, (ids("1"), at(1), TEA), (ids("11"), at(2), MUG))
    manifest = run_encode(spark, store, CONFIG, as_of=FIRST)
    table = store.read("item_embedding")
    check_table(table, ITEM_EMBEDDING, where="encode")
    rows = {row[c.ITEM_ID]: row for row in table.to_pylist()}
    assert rows.keys() == {ids("1"), ids("11")}
    for item, known in ((ids("1"), at(1)), (ids("11"), at(2))):
        assert rows[item][c.EVENT_TIMESTAMP] == rows[item][c.AVAILABLE_AT] == known
        assert rows[item][c.CREATED] == manifest.created
        assert rows[item][c.ENCODER_ID] == manifest.lineage["encoder_id"] == "hash-v1-32"
        assert rows[item][c.DIM] == 32
    assert rows[ids("1")][c.CONTENT_HASH] != rows[ids("11")][c.CONTENT_HASH]
    assert [ref.table for ref in manifest.inputs] == ["items"]
    assert manifest.choices["device"].reason


def test_only_what_changed_is_encoded_in_the_next_partition(spark, store):
    put_items(store, ("a", at(1), TEA), ("b", at(1), MUG))
    run_encode(spark, store, CONFIG, as_of=FIRST)
    put_items(
        store, ("a", at(1), TEA), ("b", at(15), POT), ("c", at(16), TEA), ("d", at(25), "later"),
        as_of=SECOND,
    )  # fmt: skip
    second = run_encode(spark, store, CONFIG, as_of=SECOND)
    assert second.since == FIRST
    assert second.rows == 2  # b has a new content, c an old one; d isn't known yet
    assert second.lineage["summary"]["encoded"] == 1
    assert vectors_of(store) == expected_vectors(a=TEA, b=POT, c=TEA)
    assert vectors_of(store, FIRST) == expected_vectors(a=TEA, b=MUG)
    repeated = run_encode(spark, store, CONFIG, as_of=SECOND)
    assert repeated.fingerprint == second.fingerprint
    assert run_encode(spark, store, CONFIG, as_of=FIRST).as_of == FIRST


def test_content_that_returns_to_what_it_was_is_the_newest_again(spark, store):
    for as_of, text in ((FIRST, TEA), (SECOND, MUG), (THIRD, TEA)):
        put_items(store, ("a", as_of - (at(1) - at(0)), text), as_of=as_of)
        manifest = run_encode(spark, store, CONFIG, as_of=as_of)
        assert vectors_of(store, as_of) == expected_vectors(a=text)
    assert manifest.lineage["summary"]["encoded"] == 0
    assert manifest.rows == 1


def test_nothing_new_makes_an_empty_partition(spark, store):
    put_items(store, ("a", at(1), TEA))
    run_encode(spark, store, CONFIG, as_of=FIRST)
    second = run_encode(spark, store, CONFIG, as_of=SECOND)
    assert second.rows == 0
    assert vectors_of(store) == expected_vectors(a=TEA)


def test_another_encoder_encodes_everything_again(spark, store):
    put_items(store, ("a", at(1), TEA), ("b", at(1), MUG))
    run_encode(spark, store, encoder(dim=16), as_of=FIRST)
    second = run_encode(spark, store, CONFIG, as_of=SECOND)
    assert second.lineage["summary"]["encoded"] == 2
    assert vectors_of(store) == expected_vectors(a=TEA, b=MUG)


def test_several_text_fields_are_one_content(spark, store):
    table = worlds.items([("a", at(1), TEA, "drinks"), ("b", at(1), None, "home")], c.CATEGORY)
    worlds.publish(store, "items", table, as_of=FIRST)
    config = encoder(text_fields=[c.CATEGORY, c.TEXT])
    run_encode(spark, store, config, as_of=FIRST)
    assert vectors_of(store) == expected_vectors(a=f"drinks {TEA}", b="home")


def test_blank_texts_are_set_aside_with_their_reason_and_counted(spark, store):
    put_items(
        store, ("a", at(1), TEA), ("b", at(1), None), ("c", at(1), " \n\t "), ("d", at(1), MUG)
    )
    manifest = run_encode(spark, store, CONFIG, as_of=FIRST)
    assert manifest.quarantined == {"no text": 2}
    assert vectors_of(store) == expected_vectors(a=TEA, d=MUG)
    aside = store.read(QUARANTINE).to_pylist()
    assert [(row[c.ITEM_ID], row[c.REASON]) for row in aside] == [
        ("b", "no text"),
        ("c", "no text"),
    ]


def test_items_set_aside_before_do_not_fail_the_next_run(spark, store):
    """They are all that is left to encode, but still a small share of the items."""
    put_items(store, ("a", at(1), TEA), ("b", at(1), None), ("c", at(1), MUG))
    run_encode(spark, store, CONFIG, as_of=FIRST)
    second = run_encode(spark, store, CONFIG, as_of=SECOND)
    assert second.rows == 0
    assert second.quarantined == {"no text": 1}


def test_too_many_bad_rows_publish_no_vectors(spark, store):
    put_items(store, ("a", at(1), TEA), ("b", at(1), None), ("c", at(1), None))
    with pytest.raises(QuarantineError, match=r"2 of 3 rows .* allowed 50%: {'no text': 2}"):
        run_encode(spark, store, CONFIG, as_of=FIRST)
    with pytest.raises(MissingTableError):
        store.latest("item_embedding")
    assert store.read(QUARANTINE)[c.ITEM_ID].to_pylist() == ["b", "c"]
    assert [path.name for path in (store.root / "item_embedding").iterdir()] == []


def test_unknown_text_field_is_refused_before_anything_is_written(spark, store):
    put_items(store, ("a", at(1), TEA))
    with pytest.raises(InputError, match=r"no column 'body'; it has item_id, event_times"):
        run_encode(spark, store, encoder(text_fields=["text", "body"]), as_of=FIRST)
    assert not (store.root / "item_embedding").exists()


def test_no_items_name_the_command(spark, store):
    with pytest.raises(MissingTableError, match="sail-features import"):
        run_encode(spark, store, CONFIG, as_of=FIRST)
