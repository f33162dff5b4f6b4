"""Image towers: small random CLIP and SigLIP models, real photographs, broken files.

Random weights tell nothing about meaning; they do tell whether pictures arrive whole.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_clip, save_siglip, save_whole_clip

from sail_features.config import EncoderConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import Placement
from sail_features.encoders.media import MediaReader
from sail_features.encoders.pipeline import EncodePipeline, encode_contents
from sail_features.encoders.vision import VisionEncoder
from sail_features.errors import ModelError
from sail_features.testing.encoder_suite import check_encoder, check_refusals

torch = pytest.importorskip("torch")
PIL = pytest.importorskip("PIL.Image")
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    for name, save in (("clip", save_clip), ("siglip", save_siglip), ("whole", save_whole_clip)):
        save(folder / name)
    return folder


@pytest.fixture(scope="module")
def clip(models):
    return VisionEncoder(str(models / "clip"))


def picture(*, size=(40, 30), mode="RGB", kind="PNG", seed=0, **options) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


PICTURES = [picture(seed=0), picture(seed=1, kind="JPEG"), picture(seed=2), picture(seed=0)]


@pytest.mark.parametrize(("name", "dim"), [("clip", 16), ("siglip", 32), ("whole", 16)])
def test_tower_keeps_the_promises_of_the_suite(models, name, dim):
    encoder = VisionEncoder(str(models / name))
    assert encoder.dim == dim
    check_encoder(lambda: VisionEncoder(str(models / name)), PICTURES)


def test_vectors_are_those_of_transformers(models, clip):
    from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection.from_pretrained(models / "clip").eval()
    images = [PIL.open(io.BytesIO(data)) for data in PICTURES]
    pixels = AutoImageProcessor.from_pretrained(models / "clip")(images, return_tensors="pt")
    with torch.inference_mode():
        found = torch.nn.functional.normalize(model(**pixels).image_embeds).numpy()
    assert np.sum(found * clip.encode(PICTURES), axis=1).min() > 1 - 1e-6


def test_bf16_is_near_and_has_its_own_id(models, clip):
    half = VisionEncoder(str(models / "clip"), placement=Placement(dtype="bfloat16"))
    assert half.encoder_id != clip.encoder_id
    assert np.sum(half.encode(PICTURES) * clip.encode(PICTURES), axis=1).min() > 0.999


def test_decoding_in_threads_changes_nothing(models, clip):
    encoder = VisionEncoder(str(models / "clip"), placement=Placement(threads=2))
    assert np.array_equal(encoder.prepare(PICTURES), clip.prepare(PICTURES))


def test_frames_are_averaged(clip):
    one, other = (clip.forward(clip.prepare([data]))[0] for data in PICTURES[:2])
    mean = (one + other) / 2
    (pooled,) = clip.encode([PICTURES[:2]])
    assert np.allclose(pooled, mean / np.linalg.norm(mean), atol=1e-5)
    mixed = clip.encode([PICTURES[0], PICTURES[:2], tuple(PICTURES[:1])])
    assert np.allclose(mixed[1], pooled, atol=1e-5)
    assert np.allclose(mixed[0], mixed[2], atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK", "I;16", "LA", "F"])
def test_all_modes_are_read(clip, mode):
    kind = "TIFF" if mode in ("CMYK", "I;16", "F") else "PNG"
    mid = "I" if mode == "I;16" else mode
    assert np.isfinite(clip.encode([picture(mode=mid, kind=kind)])).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_odd_shapes_are_read(clip, size):
    assert np.isfinite(clip.encode([picture(size=size), picture(size=size, kind="JPEG")])).all()


def test_photograph_is_turned_as_its_exif_says(clip):
    upright = PIL.open(io.BytesIO(picture(size=(64, 64))))
    exif = PIL.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    turned, plain = io.BytesIO(), io.BytesIO()
    upright.transpose(PIL.Transpose.ROTATE_90).save(turned, "PNG", exif=exif)
    upright.save(plain, "PNG")
    one, other = clip.encode([turned.getvalue(), plain.getvalue()])
    assert one @ other > 1 - 1e-6


def test_big_jpeg_is_decoded_small_with_hardly_a_difference(clip, monkeypatch):
    smooth = np.linspace(0, 255, 1600 * 1200 * 3).reshape(1200, 1600, 3).astype(np.uint8)
    file = io.BytesIO()
    PIL.fromarray(smooth).save(file, "JPEG", quality=95)
    (drafted,) = clip.encode([file.getvalue()])
    monkeypatch.setattr("sail_features.encoders.vision.DRAFT_FACTOR", 1000)
    (whole,) = clip.encode([file.getvalue()])
    assert drafted @ whole > 0.999


# ---- broken and hostile files


def png_of_claimed_size(width: int, height: int) -> bytes:
    """Return a tiny PNG that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_broken_images_are_refused_with_a_reason(clip):
    jpeg, png = picture(size=(200, 200), kind="JPEG"), picture(size=(200, 200))
    flipped = bytearray(png)
    flipped[60:90] = bytes(30)
    bad = [
        b"", b"garbage", b"\xff\xd8\xff", jpeg[: len(jpeg) // 2], png[: len(png) // 2], png[:30],
        bytes(flipped), b"<svg></svg>", b"%!PS-Adobe-3.0 EPSF-3.0\n", None, 7, [], ["a"] * 65,
        [PICTURES[0], b"garbage"], png_of_claimed_size(20_000, 20_000),
        png_of_claimed_size(10_000, 9_000), "no/root.png",
    ]  # fmt: skip
    reasons = check_refusals(clip, PICTURES[0], bad)
    assert reasons[1] == "image can't be decoded (UnidentifiedImageError)"
    assert reasons[14] == "image can't be decoded (DecompressionBombError)"
    assert reasons[-1] == "a path, but no media root is set"


def test_image_just_above_the_limit_of_pixels_is_refused(clip, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)
    assert encode_contents(clip, [picture(), picture(size=(30, 30))]).reasons[1] is None
    with pytest.warns(PIL.DecompressionBombWarning):
        reason = encode_contents(clip, [picture()]).reasons
    assert reason == ["image has too many pixels"]


def test_checkpoints_that_are_no_image_tower_are_refused(models, tmp_path):
    folder = shutil.copytree(models / "clip", tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    for named in (["ViTModel"], [], None):
        (folder / "config.json").write_text(json.dumps({**config, "architectures": named}))
        with pytest.raises(ModelError, match="is none of CLIPModel"):
            VisionEncoder(str(folder))


def test_id_changes_with_preprocessing(models, tmp_path, clip):
    folder = shutil.copytree(models / "clip", tmp_path / "clip")
    assert VisionEncoder(str(folder)).encoder_id == clip.encoder_id
    with (folder / "preprocessor_config.json").open("a") as file:
        file.write(" ")
    assert VisionEncoder(str(folder)).encoder_id != clip.encoder_id


# ---- real photographs


@pytest.mark.skipif(not (DATA / "flowers_cc").is_dir(), reason=f"no {DATA / 'flowers_cc'}")
def test_real_photographs_by_path_and_by_bytes(models):
    paths = sorted((DATA / "flowers_cc" / "images").glob("*.jpg"))[:40]
    config = EncoderConfig(
        kind="vision", model=str(models / "siglip"), media_root=DATA, dtype="float32"
    )
    encoder = build_encoder(config)
    pipeline = EncodePipeline(encoder)
    by_path = pipeline.encode([str(path.relative_to(DATA)) for path in paths])
    by_bytes = pipeline.encode([path.read_bytes() for path in reversed(paths)])
    assert set(by_path.reasons) == {None}
    cosines = np.sum(by_path.vectors * by_bytes.vectors[::-1], axis=1)
    assert cosines.min() > 1 - 1e-6
    assert pipeline.statistics.padding_share == 0


@pytest.mark.skipif(not (DATA / "xwines_slim").is_dir(), reason=f"no {DATA / 'xwines_slim'}")
def test_real_photographs_cut_off_anywhere_never_raise(models):
    path = sorted((DATA / "xwines_slim" / "images").iterdir())[0]
    data = path.read_bytes()
    cuts = [data[: len(data) * share // 10] for share in range(10)]
    encoder = VisionEncoder(str(models / "clip"), reader=MediaReader(DATA))
    encoded = encode_contents(encoder, [*cuts, data])
    assert [reason is None for reason in encoded.reasons] == [False] * 10 + [True]
