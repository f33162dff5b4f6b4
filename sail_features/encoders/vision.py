"""Images by a CLIP or SigLIP tower of transformers, decoded by Pillow.

An item's image is a path, bytes, or a list of them: the frames of a video, whose vectors
are averaged. Images are turned as their EXIF says. No torchvision: the processors of
Pillow and of torchvision differ in bits, so an encoder must know which one it has.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.checkpoints import (
    SHORT_DTYPES,
    find_checkpoint,
    load_model,
    load_part,
    name_checkpoint,
    read_json,
    read_size,
)
from sail_features.encoders.devices import ON_CPU, Placement
from sail_features.encoders.media import (
    BYTES_ONLY,
    MediaReader,
    RefusedError,
    prepare_each,
)
from sail_features.encoders.pipeline import encode_or_raise
from sail_features.encoders.protocol import Content, Refusal
from sail_features.errors import ModelError

TOWERS: Final = {
    "CLIPModel": "CLIPVisionModelWithProjection",
    "CLIPVisionModelWithProjection": "CLIPVisionModelWithProjection",
    "CLIPVisionModel": "CLIPVisionModel",
    "SiglipModel": "SiglipVisionModel",
    "SiglipVisionModel": "SiglipVisionModel",
}
"""The class that a checkpoint names, and the one that loads its image tower whole:
AutoModel would drop CLIP's projection without a word."""
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow reads more, some by starting other programs."""
MAX_FRAMES: Final = 64
DRAFT_FACTOR: Final = 2
"""A big JPEG is decoded at no less than this many times the model's size."""


class VisionEncoder:
    """A frozen image tower; vectors are comparable within one checkpoint.

    Parameters
    ----------
    model : a local folder or a Hugging Face id that is in the local cache.
    reader : where image files may lie.
    placement : device and dtype; the CPU in float32 by default.

    Raises
    ------
    ModelError
        No such model, no safetensors, or a class that is none of `TOWERS`.
    """

    trained_until: datetime | None = None
    window_rows: int = 128

    def __init__(
        self,
        model: str,
        *,
        reader: MediaReader = BYTES_ONLY,
        placement: Placement = ON_CPU,
    ) -> None:
        self.folder = find_checkpoint(model)
        self.reader, self.placement = reader, placement
        self._config = read_json(self.folder / "config.json")
        named = (self._config.get("architectures") or ["no class"])[0]
        if named not in TOWERS:
            raise ModelError.not_found(model, f"its class {named} is none of {', '.join(TOWERS)}")
        self.tower = TOWERS[named]
        vision = self._config.get("vision_config", self._config)
        self.projects = self.tower == "CLIPVisionModelWithProjection"
        sizes = {**vision, **self._config} if self.projects else vision
        size = "projection_dim" if self.projects else "hidden_size"
        self.dim = read_size(sizes, [size], self.folder)
        self.image_size = read_size(vision, ["image_size"], self.folder)
        self._patches = (self.image_size // read_size(vision, ["patch_size"], self.folder)) ** 2
        self.frame_tokens = self._patches + (1 if self.tower.startswith("CLIP") else 0)
        """Vectors of a frame's last hidden state; CLIP has one of the whole image beside."""

    @cached_property
    def encoder_id(self) -> str:
        """Name, image processor, dtype and a digest of weights and preprocessing."""
        dtype = SHORT_DTYPES[self.placement.dtype]
        return name_checkpoint(self.folder, self._config, "pil", dtype, extra=self.tower)

    @property
    def device(self) -> str:
        """Where `forward` computes."""
        return self.placement.device

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        return load_part(AutoImageProcessor.from_pretrained, self.folder, backend="pil")

    @cached_property
    def _model(self) -> Any:
        import transformers

        model_class = getattr(transformers, self.tower)
        sizes = {"projection_dim": self.dim} if self.projects else {}
        return load_model(model_class, self.folder, self.placement, unused="text_", **sizes)

    def prepare(self, contents: Sequence[Content]) -> list[NDArray[np.uint8] | Refusal]:
        """Decode and resize; an item becomes bytes of shape (frames, 3, size, size).

        Bytes are a quarter of the numbers that the model reads: those wait in memory and
        travel to a GPU, and the device scales them.
        """
        _ = self._processor  # loaded once, not by several threads
        threads = self.placement.threads or 1
        return prepare_each(self._prepare_one, contents, threads=threads, kind="image")

    def _prepare_one(self, content: Content) -> NDArray[np.uint8]:
        images = [self._decode(data) for data in self.reader.read_each(content, MAX_FRAMES)]
        resized = self._processor(
            images=images, do_rescale=False, do_normalize=False, return_tensors="np"
        )["pixel_values"]
        return np.asarray(resized, np.uint8)

    def _decode(self, data: bytes) -> Any:
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
                raise RefusedError("image has too many pixels")
            if image.format in ("JPEG", "MPO"):
                side = DRAFT_FACTOR * self.image_size
                image.draft("RGB", (side, side))
            return ImageOps.exif_transpose(image).convert("RGB")

    def cost(self, prepared: NDArray[np.uint8]) -> int:
        """Return frames times patches."""
        return len(prepared) * self._patches

    @cached_property
    def _scaling(self) -> Any:
        """Scale and shift of each channel, as tensors of shape (3, 1, 1) on the device."""
        import torch

        processor = self._processor
        factor = processor.rescale_factor if processor.do_rescale else 1.0
        normalises = processor.do_normalize
        mean = np.array(processor.image_mean if normalises else 0.0)
        std = np.array(processor.image_std if normalises else 1.0)
        channels = (np.broadcast_to(value, 3) for value in (factor / std, -mean / std))
        return tuple(
            torch.tensor(value, dtype=torch.float32, device=self.device)[:, None, None]
            for value in channels
        )

    def forward(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the mean over each item's frames, shape (len(batch), dim)."""
        return mean_of_parts(self._pooled(self._see(batch)), [len(item) for item in batch])

    def forward_parts(
        self, batch: Sequence[NDArray[np.uint8]], *, patches: bool
    ) -> list[NDArray[np.float32]]:
        """Return each item's own vectors: of its frames, or of all patches of all frames.

        Parameters
        ----------
        patches : the tower's last hidden state, `frame_tokens` vectors a frame of
            ``hidden_size`` numbers, in place of the one vector of ``dim``.
        """
        seen = self._see(batch)
        each = self.frame_tokens if patches else 1
        vectors = _to_numpy(seen.last_hidden_state) if patches else self._pooled(seen)
        ends = np.cumsum([len(item) * each for item in batch])
        return np.split(vectors.reshape(-1, vectors.shape[-1]), ends[:-1])

    def _see(self, batch: Sequence[NDArray[np.uint8]]) -> Any:
        """Return what the tower makes of all frames."""
        import torch

        scale, shift = self._scaling
        with torch.inference_mode():
            frames = torch.from_numpy(np.concatenate(batch)).to(self.device) * scale + shift
            if self.device != "cpu" and self.placement.dtype == "bfloat16":
                frames = frames.bfloat16()
            return self._model(pixel_values=frames)

    def _pooled(self, seen: Any) -> NDArray[np.float32]:
        return _to_numpy(seen.image_embeds if self.projects else seen.pooler_output)

    def load(self) -> None:
        """Read weights and preprocessing, if that isn't done yet."""
        _ = self._model, self._processor

    def encode(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """Return shape (len(contents), dim), rows of length 1."""
        return encode_or_raise(self, contents)


def _to_numpy(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array


def mean_of_parts(vectors: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """Return the mean of each run of ``counts`` rows.

    Examples
    --------
    >>> mean_of_parts(np.float32([[0, 2], [2, 0], [5, 5]]), [2, 1]).tolist()
    [[1.0, 1.0], [5.0, 5.0]]
    """
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0)
    return np.asarray(sums / np.asarray(counts)[:, None], np.float32)
