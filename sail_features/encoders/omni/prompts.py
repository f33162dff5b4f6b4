"""Texts as token ids, and the instruction that a model of text tokens reads around an item.

arXiv 2510.12709, figure 5: a ChatML conversation whose system message tells the task,
whose user message is the item, and which ends where the assistant would begin. Tasks and
sides have instructions of their own; their wording is chosen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sail_features.encoders.checkpoints import find_checkpoint, find_minilm, load_part
from sail_features.encoders.omni.batch import Prompt
from sail_features.encoders.omni.settings import OmniSettings
from sail_features.errors import ConfigError, ModelError

TURN: Final = "<|im_start|>"
END: Final = "<|im_end|>"
INSTRUCTIONS: Final = {
    ("i2i", "query"): "Represent this item, to find others on the same theme.",
    ("i2i", "target"): "Represent this item, to find others on the same theme.",
    ("q2i", "query"): "Represent this search, to find the items that its user has in mind.",
    ("q2i", "target"): "Represent this item, to be found by the searches that it answers.",
    ("cls", "query"): "Represent this item, to find its labels from broad to narrow.",
    ("cls", "target"): "Represent this label, to find the items that it fits.",
}
"""By task and side."""


def instruction_of(task: str, side: str) -> str:
    """Return what to tell a model about a task's query or target.

    Raises
    ------
    ConfigError
        No such task or side.
    """
    if (task, side) not in INSTRUCTIONS:
        known = [" ".join(key) for key in INSTRUCTIONS]
        raise ConfigError.unknown_choice("instruction", f"{task} {side}", known)
    return INSTRUCTIONS[task, side]


def load_tokenizer(settings: OmniSettings, folder: Path | None = None) -> Any:
    """Return the tokenizer of a model that reads text tokens.

    Parameters
    ----------
    folder : where the model was saved; None takes the settings' own.

    Raises
    ------
    ModelError
        No tokenizer, or one of more tokens than the model has embeddings for.
    """
    from transformers import AutoTokenizer

    named = settings.tokenizer or settings.backbone
    place = folder or (find_minilm() if named is None else find_checkpoint(named))
    with _quiet():
        tokenizer = load_part(AutoTokenizer.from_pretrained, place)
    if settings.backbone is None and len(tokenizer) > settings.vocabulary:
        raise ModelError.say(
            f"tokenizer {place}",
            f"has {len(tokenizer)} tokens, expected {settings.vocabulary} (vocabulary) at most",
            hint=f"set vocabulary to {len(tokenizer)}",
        )
    return tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from warning of our own model's folder, whose type it doesn't know."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def tokenise_all(
    tokenizer: Any, texts: Sequence[str | None], max_tokens: int
) -> list[NDArray[np.int64]]:
    """Return the token ids of each text, cut to ``max_tokens``; none for a missing one."""
    filled = [row for row, text in enumerate(texts) if text is not None and text.strip()]
    found = [np.empty(0, np.int64)] * len(texts)
    if not filled:
        return found
    tokens = tokenizer(
        [texts[row] for row in filled],
        truncation=True,
        max_length=max_tokens,
        return_attention_mask=False,
        return_token_type_ids=False,
    )["input_ids"]
    for row, ids in zip(filled, tokens, strict=True):
        found[row] = np.array(ids, np.int64)
    return found


def build_prompt(tokenizer: Any, instruction: str) -> Prompt | None:
    """Return what to put around an item's content, None for no instruction.

    A tokenizer without ChatML's marks gets the instruction alone, before the content.
    """
    if not instruction:
        return None
    before, after = instruction, ""
    if TURN in tokenizer.get_vocab():
        before = f"{TURN}system\n{instruction}{END}\n{TURN}user\n"
        after = f"{END}\n{TURN}assistant\n{tokenizer.eos_token or ''}"
    return Prompt(_bare_ids(tokenizer, before), _bare_ids(tokenizer, after))


def _bare_ids(tokenizer: Any, text: str) -> Tensor:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return torch.tensor(ids, dtype=torch.long)
