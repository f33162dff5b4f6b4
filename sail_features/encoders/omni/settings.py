"""How large an omni-modal model is and what it reads; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sail_features.config import EncoderConfig, Section
from sail_features.encoders.media import MediaReader
from sail_features.errors import ConfigError, ModelError

AUDIO: Final = "audio"
VISION: Final = "vision"
TEXT: Final = "text"
Part = Literal["content", "behaviour"]
"""Of a model: which data trains it."""
MODALITIES: Final = (AUDIO, VISION, TEXT)
"""In the order of their tokens in the trunk (arXiv 2510.12709, section 3: [T_a; T_v; T_t])."""
TOWER_KINDS: Final = {
    AUDIO: ("audio", "given"),
    VISION: ("vision", "given"),
    TEXT: ("transformer_text", "hash", "given"),
}


class Tower(Section):
    """A frozen encoder of one modality, whose outputs the model reads.

    ``kind``, ``model``, ``max_tokens``, ``prompt``, ``dtype`` and ``backend`` are those of
    `EncoderConfig`; ``given``: vectors that came from elsewhere, so that the model can be
    trained on them but can't encode an item. ``reads``: the encoder's own vector, one
    vector a frame of a video, or the patches of every frame (its last hidden state).
    ``dim``: length of one such vector. ``tokens``: the most that an item has.
    ``queries``: learned queries of the resampler that stand for all of them; 0 gives each
    vector to the trunk as a token of its own. ``encoder_id``: of the encoder that made the
    vectors of the training; serving refuses another.
    """

    kind: Literal["transformer_text", "vision", "audio", "hash", "given"] = "given"
    model: str | None = None
    max_tokens: int = Field(default=128, ge=8, le=8192)
    prompt: str = ""
    dtype: Literal["float32", "bfloat16"] = "float32"
    backend: Literal["torch", "openvino"] = "torch"
    reads: Literal["pooled", "frames", "patches"] = "pooled"
    dim: int = Field(ge=1)
    tokens: int = Field(default=1, ge=1)
    queries: int = Field(default=0, ge=0, le=1024)
    encoder_id: str | None = None

    @model_validator(mode="after")
    def _check_reads(self) -> Self:
        if self.reads != "pooled" and self.kind not in ("vision", "given"):
            raise ValueError(f"a {self.kind} tower has no {self.reads}; leave reads at pooled")
        return self

    @classmethod
    def of(cls, config: EncoderConfig, *, dim: int, encoder_id: str) -> Self:
        """Return the tower whose vectors an encoder of these settings makes.

        Parameters
        ----------
        config : its dtype is resolved; it may say what is read, too.
        """
        shared = set(cls.model_fields) & set(type(config).model_fields) - {"dim"}
        return cls(dim=dim, encoder_id=encoder_id, **config.model_dump(include=shared))

    def encoder_config(self, *, folder: Path, reader: MediaReader) -> EncoderConfig:
        """Return the settings of the tower's encoder.

        Parameters
        ----------
        folder : of the model; a tower's ``model`` may be a folder relative to it.
        reader : where files may lie and how large they may be.

        Raises
        ------
        ModelError
            Nobody knows what made the vectors of the training.
        """
        if self.kind == "given":
            raise ModelError.say(
                f"model {folder}",
                "was trained on vectors of unknown origin (a tower of kind 'given')",
                hint="train it on tables of an encoder's vectors, and name that as its tower",
            )
        inside = self.model is not None and (folder / self.model).is_dir()
        return EncoderConfig(
            kind=self.kind,
            model=str(folder / str(self.model)) if inside else self.model,
            max_tokens=self.max_tokens,
            prompt=self.prompt,
            dtype=self.dtype,
            backend=self.backend,
            dim=self.dim if self.kind == "hash" else EncoderConfig().dim,
            media_root=reader.root,
            max_media_bytes=reader.max_bytes,
        )


class BehaviourPart(Section):
    """A second, smaller reading of the towers, which behaviour alone trains: see `joint`.

    ``hidden``: numbers that it adds to the vector. ``layers`` and ``heads``: of its trunk.
    ``share``: how much of a cosine it decides; the rest is content's.
    """

    hidden: int = Field(default=32, ge=2)
    layers: int = Field(default=1, ge=0)
    heads: int = Field(default=2, ge=1)
    share: float = Field(default=0.05, gt=0, lt=1)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) isn't a multiple of heads ({self.heads})")
        return self


class OmniSettings(Section):
    """Sizes of the model, and what it reads of an item.

    ``hidden``: length of the vector and width of the trunk. ``layers`` and ``heads``: of a
    trunk of our own, trained from nothing. ``backbone``: a Hugging Face folder or id to be
    the trunk instead, BERT-like or a causal language model, whose mask is lifted; its
    hidden size must be ``hidden``. ``matryoshka``: prefixes of the vector that are trained
    to be embeddings, the last one all of it. ``towers``: by modality. ``text_tokens``:
    whether a trainable table of token embeddings reads the text too (the backbone's own,
    where there is one). ``tokenizer``: folder or id; null is the backbone's, or MiniLM's,
    and ``vocabulary`` the number of its tokens. ``instruction``: told to the model around
    every item that it encodes. ``resampler_width`` (null: ``hidden``), ``resampler_layers``
    and ``resampler_heads``: of a tower with ``queries``. ``behaviour``: a part of its own for
    what users do; null lets one vector learn both.
    """

    hidden: int = Field(default=128, ge=2)
    layers: int = Field(default=2, ge=0)
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    backbone: str | None = None
    matryoshka: tuple[int, ...] = (32, 64, 128)
    towers: dict[str, Tower] = Field(default_factory=dict)
    text_tokens: bool = False
    tokenizer: str | None = None
    vocabulary: int = Field(default=30_522, ge=1)
    max_text_tokens: int = Field(default=128, ge=4, le=8192)
    instruction: str = ""
    resampler_width: int | None = Field(default=None, ge=2)
    resampler_layers: int = Field(default=2, ge=1)
    resampler_heads: int = Field(default=4, ge=1)
    behaviour: BehaviourPart | None = None

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.backbone is None and self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) isn't a multiple of heads ({self.heads})")
        sizes = self.matryoshka
        if list(sizes) != sorted(set(sizes)) or not sizes or sizes[0] < 1:
            raise ValueError(f"matryoshka {sizes} doesn't rise from at least 1")
        if sizes[-1] != self.hidden:
            raise ValueError(
                f"matryoshka ends with {sizes[-1]}, expected hidden ({self.hidden}): set both"
            )
        if self.instruction and not self.text_tokens:
            raise ValueError("instruction needs text_tokens: nothing else reads words")
        for modality, tower in self.towers.items():
            if tower.kind not in TOWER_KINDS.get(modality, ()):
                raise ValueError(f"towers.{modality}: a {tower.kind} encoder reads no {modality}")
            if tower.queries and (self.resampler_width or self.hidden) % self.resampler_heads:
                raise ValueError("the resampler's width isn't a multiple of resampler_heads")
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model reads, in the order of the trunk."""
        return tuple(
            name
            for name in MODALITIES
            if name in self.towers or (name == TEXT and self.text_tokens)
        )

    @property
    def dim(self) -> int:
        """Length of an item's vector."""
        return self.hidden + (self.behaviour.hidden if self.behaviour else 0)

    def of_content(self) -> OmniSettings:
        """Return the settings without the behaviour part."""
        return self.model_copy(update={"behaviour": None})

    def of_behaviour(self) -> OmniSettings:
        """Return the settings of the behaviour part as a model of its own."""
        part = self.behaviour or BehaviourPart()
        shared = {"resampler_layers", "resampler_heads", "dropout", "towers"}
        return OmniSettings(
            **part.model_dump(exclude={"share"}),
            **self.model_dump(include=shared),
            matryoshka=(part.hidden,),
            resampler_width=self.resampler_width or self.hidden,
        )


PRESETS: Final = {
    "tiny": OmniSettings(),
    "small": OmniSettings(hidden=384, layers=4, heads=6, matryoshka=(96, 192, 384)),
    "paper": OmniSettings(
        hidden=1536,
        backbone="Qwen/Qwen2-1.5B",
        matryoshka=(128, 768, 1536),
        text_tokens=True,
        resampler_width=1024,
        resampler_layers=6,
        resampler_heads=16,
        towers={
            "audio": Tower(kind="audio", model="laion/clap-htsat-unfused", dim=512),
            "vision": Tower(
                kind="vision",
                model="openai/clip-vit-large-patch14",
                reads="patches",
                dim=1024,
                tokens=8 * 257,
                queries=16,
            ),
        },
    ),
}
"""Sizes to start from. ``tiny`` trains on two cores in minutes; ``tiny`` and ``small`` are
chosen here and read what ``towers`` adds. ``paper`` has the sizes that arXiv 2510.12709
tells (1536, prefixes 128 and 768, 16 queries of 1024 numbers, depth 6, CLAP of 512
numbers, patch 14); Qwen2-1.5B, open CLIP, eight frames and the number of heads are chosen
here, where it names none."""


def from_preset(name: str, /, **changes: Any) -> OmniSettings:
    """Return a preset with some settings changed.

    Raises
    ------
    ConfigError
        No such preset, or the changed settings contradict each other.

    Examples
    --------
    >>> from_preset("tiny", hidden=64, matryoshka=(16, 64)).hidden
    64
    """
    if name not in PRESETS:
        raise ConfigError.unknown_choice("model.preset", name, tuple(PRESETS))
    try:
        return OmniSettings.model_validate({**PRESETS[name].model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError.unreadable("model.settings", error) from error
