"""A content part and a behaviour part side by side in one vector."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from media_files import picture, sound  # noqa: E402
from omni_models import random_inputs, save_towers, small_settings  # noqa: E402

from sail_features.embeddings import normalise  # noqa: E402
from sail_features.encoders.omni.encoder import OmniEncoder  # noqa: E402
from sail_features.encoders.omni.folder import load_omni, save_omni  # noqa: E402
from sail_features.encoders.omni.joint import JointModel, build_omni, part_model  # noqa: E402
from sail_features.encoders.omni.model import OmniModel  # noqa: E402
from sail_features.encoders.omni.settings import OmniSettings, from_preset  # noqa: E402
from sail_features.errors import ConfigError, ModelError  # noqa: E402
from sail_features.testing.encoder_suite import check_encoder  # noqa: E402
from sail_features.training.vectors import embed_rows  # noqa: E402

SHARE = 0.3
PART = {"hidden": 12, "layers": 1, "heads": 3, "share": SHARE}
ALL = np.arange(12)


@pytest.fixture(scope="module")
def inputs():
    return random_inputs()


def make(inputs, *, seed=0, **changes):
    """Return a joint model as if both parts had been trained."""
    torch.manual_seed(seed)
    model = build_omni(small_settings(inputs, behaviour=PART, **changes))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def cosines(vectors):
    unit = normalise(vectors)
    return unit @ unit.T


def test_a_cosine_is_the_shares_of_both_parts_cosines(inputs):
    model = make(inputs)
    model.join()
    content, behaviour = (
        embed_rows(part_model(model, part), inputs, ALL) for part in ("content", "behaviour")
    )
    joint = embed_rows(model, inputs, ALL)
    assert joint.shape == (12, 24 + 12)
    expected = (1 - SHARE) * cosines(content) + SHARE * cosines(behaviour)
    np.testing.assert_allclose(cosines(joint), expected, atol=1e-5)


def test_before_it_is_joined_the_vector_is_the_contents(inputs):
    model = make(inputs)
    joint = embed_rows(model, inputs, ALL)
    np.testing.assert_array_equal(joint[:, 24:], 0)
    np.testing.assert_allclose(
        joint[:, :24], embed_rows(part_model(model, "content"), inputs, ALL), atol=1e-6
    )


def test_the_content_part_begins_as_it_would_alone(inputs):
    settings = small_settings(inputs)
    torch.manual_seed(3)
    alone = OmniModel(settings).state_dict()
    torch.manual_seed(3)
    joint = build_omni(small_settings(inputs, behaviour=PART)).content.state_dict()
    assert alone.keys() == joint.keys()
    assert all(torch.equal(alone[name], joint[name]) for name in alone)


def test_saved_and_loaded_it_gives_the_same_vectors(inputs, tmp_path):
    model = make(inputs)
    model.join()
    save_omni(model, tmp_path / "m", trained_until=None, lineage={})
    loaded = load_omni(tmp_path / "m")
    assert isinstance(loaded, JointModel)
    np.testing.assert_array_equal(embed_rows(loaded, inputs, ALL), embed_rows(model, inputs, ALL))


@pytest.mark.parametrize("text_tokens", [False, True])
def test_it_serves_as_any_encoder_does(tmp_path, text_tokens):
    towers = save_towers(tmp_path / "towers")
    if text_tokens:
        del towers["text"]
    settings = from_preset(
        "tiny",
        hidden=24,
        heads=4,
        matryoshka=(8, 24),
        towers=towers,
        behaviour=PART,
        text_tokens=text_tokens,
    )
    torch.manual_seed(0)
    model = build_omni(settings)
    model.join()
    save_omni(model, tmp_path / "m", trained_until=None, lineage={})
    items = [
        {"text": "red wine", "vision": picture(0), "audio": sound(300, 8_000)},
        {"text": "white wine"},
        {"vision": picture(1)},
        {"text": "red wine", "audio": sound(500, 8_000)},
    ]
    encoder = OmniEncoder(str(tmp_path / "m"))
    assert encoder.dim == 36
    check_encoder(lambda: OmniEncoder(str(tmp_path / "m")), items)
    if text_tokens:  # no tower reads words, so behaviour has nothing to say of the second
        np.testing.assert_array_equal(encoder.encode(items)[1, 24:], 0)


def test_a_part_that_cannot_be_is_refused(inputs):
    with pytest.raises(ModelError, match="has no behaviour part"):
        part_model(OmniModel(small_settings(inputs)), "behaviour")
    with pytest.raises(ModelError, match="no tower for it to read"):
        build_omni(OmniSettings(text_tokens=True, behaviour={"hidden": 8}))
    with pytest.raises(ConfigError, match="isn't a multiple of heads"):
        from_preset("tiny", behaviour={"hidden": 7})
    with pytest.raises(ConfigError, match="less than 1"):
        from_preset("tiny", behaviour={"share": 1.0})


def test_its_weights_are_counted_by_part(inputs):
    counts = make(inputs).count_parameters()
    assert counts["total"] == sum(size for name, size in counts.items() if name != "total")
    assert counts["behaviour"] > 0
