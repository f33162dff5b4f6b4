"""MovieLens, in its three file formats.

=====================  =====================  ==============================
release                ratings                movies
=====================  =====================  ==============================
1M, 10M                ``ratings.dat``, ::    ``movies.dat``, ::, Latin-1
20M, 25M, 32M, small   ``ratings.csv``        ``movies.csv``
100K                   ``u.data``, tabs       ``u.item``, bars, Latin-1
=====================  =====================  ==============================

Nothing says when a film was added, so films take the log's start. Known gap: text
is the title and the genres, no plot.

References: F. M. Harper, J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4),
2015; the README of each release at https://grouplens.org/datasets/movielens/.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset
from sail_features.datasets.ratings import RATING, build_ratings_dataset
from sail_features.datasets.source_files import check_columns, read_delimited
from sail_features.datasets.text_columns import join_text, null_if
from sail_features.datasets.timestamps import times_from_epoch
from sail_features.errors import InputError

_RATINGS: Final = {
    "userId": pa.int64(),
    "movieId": pa.int64(),
    "rating": pa.float64(),
    "timestamp": pa.int64(),
}
_MOVIES: Final = {"movieId": pa.int64(), "title": pa.string(), "genres": pa.string()}
_NO_GENRES: Final = "(no genres listed)"
_GENRES_100K: Final = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_COLUMNS_100K: Final = ("movieId", "title", "released", "video_released", "url", *_GENRES_100K)


def is_movielens(folder: Path) -> bool:
    """Return whether the folder holds the files of one of the three formats."""
    pairs = (("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"), ("u.data", "u.item"))
    return any(all((folder / name).is_file() for name in pair) for pair in pairs)


def load_movielens(folder: Path) -> Dataset:
    """Load one release: a rating is an impression, of label 1 from 4 stars.

    Ids are whole numbers, as in the files. ``category`` is the first genre, ``tags``
    are all of them.

    Raises
    ------
    InputError
        A file of the pair is missing or can't be parsed.
    """
    if (folder / "ratings.dat").is_file():
        ratings = _read_double_colon(folder / "ratings.dat", _RATINGS)
        movies = _read_double_colon(folder / "movies.dat", _MOVIES)
    elif (folder / "u.data").is_file():
        ratings = read_delimited(folder / "u.data", "\t", names=tuple(_RATINGS), types=_RATINGS)
        movies = _read_movies_100k(folder / "u.item")
    else:
        ratings = _read_csv(folder / "ratings.csv", _RATINGS)
        movies = _read_csv(folder / "movies.csv", _MOVIES)
    return build_ratings_dataset("movielens", _items(movies), _ratings(ratings))


def _read_csv(file: Path, types: dict[str, pa.DataType]) -> pa.Table:
    table = read_delimited(file, ",", types=types)
    check_columns(table, types, where=str(file))
    return table


def _read_double_colon(file: Path, types: dict[str, pa.DataType]) -> pa.Table:
    try:
        text = file.read_bytes().replace(b"::", b"\t")
    except OSError as error:
        raise InputError.file_unreadable(file, error) from error
    return read_delimited(
        io.BytesIO(text), "\t", names=tuple(types), types=types, encoding="latin-1", quoted=False
    )


def _read_movies_100k(file: Path) -> pa.Table:
    """Read ``u.item``, whose genres are 19 columns of 0 and 1."""
    table = read_delimited(
        file, "|", names=_COLUMNS_100K, types=_MOVIES, encoding="latin-1", quoted=False
    )
    flags = zip(*(table[genre].to_pylist() for genre in _GENRES_100K), strict=True)
    genres = [
        "|".join(genre for genre, flag in zip(_GENRES_100K, row, strict=True) if flag == "1")
        for row in flags
    ]
    return table.select(["movieId", "title"]).append_column("genres", pa.array(genres))


def _items(movies: pa.Table) -> pa.Table:
    genres = null_if(null_if(movies["genres"], _NO_GENRES), "")
    tags = pc.split_pattern(genres, "|")
    listed = pc.replace_substring(genres, "|", ", ")
    return pa.table(
        {
            c.ITEM_ID: movies["movieId"],
            c.TITLE: movies["title"],
            c.TEXT: join_text([movies["title"], listed], ". "),
            c.CATEGORY: pc.list_element(tags, 0),
            c.TAGS: tags,
        }
    )


def _ratings(ratings: pa.Table) -> pa.Table:
    return pa.table(
        {
            c.USER_ID: ratings["userId"],
            c.ITEM_ID: ratings["movieId"],
            c.EVENT_TIMESTAMP: times_from_epoch(ratings["timestamp"], "s"),
            RATING: ratings["rating"],
        }
    )
