"""Every format that is known, and how to recognise it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from sail_features.datasets.amazon import is_amazon, load_amazon
from sail_features.datasets.dataset import Dataset
from sail_features.datasets.ifdb import is_ifdb, load_ifdb
from sail_features.datasets.mind import is_mind, load_mind
from sail_features.datasets.movielens import is_movielens, load_movielens
from sail_features.datasets.online_retail import is_online_retail, load_online_retail
from sail_features.datasets.synthetic import SyntheticConfig, build_synthetic
from sail_features.datasets.xwines_slim import is_xwines_slim, load_xwines_slim
from sail_features.errors import ConfigError, InputError

SYNTHETIC: Final = "synthetic"


class Format(NamedTuple):
    """A log format: its name, a test of a folder's files, and its importer."""

    name: str
    recognises: Callable[[Path], bool]
    load: Callable[[Path], Dataset]


FORMATS: Final = (
    Format("online_retail", is_online_retail, load_online_retail),
    Format("ifdb", is_ifdb, load_ifdb),
    Format("xwines_slim", is_xwines_slim, load_xwines_slim),
    Format("movielens", is_movielens, load_movielens),
    Format("mind", is_mind, load_mind),
    Format("amazon", is_amazon, load_amazon),
)


def load_dataset(
    source: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    world: SyntheticConfig | None = None,
) -> Dataset:
    """Load a folder in one of the known formats, or make the synthetic world.

    Parameters
    ----------
    source : ``synthetic``, or a folder.
    format : name of the folder's format; null recognises it by its files.
    world : size, seed and planted effect of the synthetic world.

    Raises
    ------
    ConfigError
        The format isn't known, or none recognises the folder.
    InputError
        No such folder, or its files break their format or the tables' contracts.
    """
    if str(source) == SYNTHETIC:
        return build_synthetic(world)
    folder = Path(source)
    if not folder.is_dir():
        raise InputError.file_unreadable(folder, "no such folder")
    return _find_format(folder, format).load(folder)


def _find_format(folder: Path, name: str | None) -> Format:
    names = [known.name for known in FORMATS]
    if name is not None:
        if name not in names:
            raise ConfigError.unknown_choice("format", name, names)
        return FORMATS[names.index(name)]
    for known in FORMATS:
        if known.recognises(folder):
            return known
    found = sorted(file.name for file in folder.iterdir())
    raise ConfigError.unknown_dataset(folder, [*names, SYNTHETIC], found)
