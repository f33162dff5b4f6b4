"""Amazon reviews of 2018 and 2023: a file of reviews and one of metadata.

======== ==================================== ===================================
release  a line of the reviews                a line of ``meta_*``
======== ==================================== ===================================
2018     reviewerID, asin, overall,           asin, title, description, feature,
         unixReviewTime (seconds, whole days) category, price (``$12.99``)
2023     user_id, parent_asin, rating,        parent_asin, title, description,
         timestamp (milliseconds)             features, categories, main_category,
                                              price (12.99)
======== ==================================== ===================================

JSON lines, also with ``.gz``. Fields change their type from line to line (a list
here, a string there), so DuckDB reads them as JSON and SQL takes them apart; a
field that a release lacks is null. Left out on purpose: the metadata's average
rating and rating count, sales ranks and also-bought lists, which were taken after
the fact and leak labels, and the reviews' own words. Of 2018, all reviews of a day
have the same time, so that none of them is history to another.

References: J. Ni, J. Li, J. McAuley, Justifying Recommendations using
Distantly-Labeled Reviews and Fine-Grained Aspects, EMNLP 2019; Y. Hou et al.,
Bridging Language and Items for Retrieval and Recommendation, arXiv 2403.03952.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import IO, Final

import duckdb
import pyarrow as pa

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset
from sail_features.datasets.policies import REPEATED_ITEM, drop_repeats
from sail_features.datasets.ratings import build_ratings_dataset
from sail_features.datasets.timestamps import times_from_epoch
from sail_features.errors import InputError

_SUFFIXES: Final = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_REVIEWERS: Final = {"reviewerID", "user_id"}
_PRODUCTS: Final = {"asin", "parent_asin"}

_MACROS: Final = r"""
    CREATE MACRO words(field) AS nullif(CASE json_type(field)
        WHEN 'ARRAY' THEN array_to_string(CAST(field AS VARCHAR[]), ' ')
        WHEN 'VARCHAR' THEN field->>'$' END, '');
    CREATE MACRO list_of(field) AS CASE json_type(field)
        WHEN 'ARRAY' THEN CAST(field AS VARCHAR[]) END;
    -- The first number of 12.99, $1,299.00 - $1,399.00 or from 5; null for anything else:
    -- the style sheets of some pages got into this field.
    CREATE MACRO first_price(field) AS TRY_CAST(replace(regexp_extract(
        field->>'$', '^(?:from )?\$?([0-9][0-9,]*(?:\.[0-9]+)?)', 1), ',', '') AS DOUBLE);
"""
_RATINGS: Final = """
    SELECT coalesce(user_id, reviewerID) AS user_id,
           coalesce(parent_asin, asin) AS item_id,
           coalesce(rating, overall) AS rating,
           coalesce(timestamp * 1000, unixReviewTime * 1000000) AS event_timestamp
    FROM read_json(?, format = 'newline_delimited', columns = {
        user_id: 'VARCHAR', parent_asin: 'VARCHAR', rating: 'DOUBLE', timestamp: 'BIGINT',
        reviewerID: 'VARCHAR', asin: 'VARCHAR', overall: 'DOUBLE', unixReviewTime: 'BIGINT'})
"""
_ITEMS: Final = """
    WITH products AS (
        SELECT coalesce(parent_asin, asin) AS item_id,
               words(title) AS title,
               nullif(concat_ws(chr(10), words(title), coalesce(words(features), words(feature)),
                                words(description)), '') AS text,
               first_price(price) AS price,
               coalesce(list_of(categories), list_of(category)) AS tags,
               coalesce(words(main_category), words(main_cat)) AS main
        FROM read_json(?, format = 'newline_delimited', columns = {
            parent_asin: 'VARCHAR', asin: 'VARCHAR', title: 'JSON', description: 'JSON',
            features: 'JSON', feature: 'JSON', categories: 'JSON', category: 'JSON',
            main_category: 'JSON', main_cat: 'JSON', price: 'JSON'}))
    SELECT * EXCLUDE (main), coalesce(tags[2], tags[1], main) AS category FROM products
"""


def is_amazon(folder: Path) -> bool:
    """Return whether the folder holds JSON lines of reviews and of products."""
    reviews, products = _find_files(folder)
    return bool(reviews and products)


def load_amazon(folder: Path) -> Dataset:
    """Load one category of one release: a review is an impression, of label 1 from 4 stars.

    ``category`` is the second level of the product's path (the first is the same in
    the whole file), ``tags`` are all levels. Reviews of products without metadata
    are dropped and counted.

    Raises
    ------
    InputError
        Not one file of each kind, or one that can't be parsed.
    """
    reviews, products = _find_files(folder)
    if len(reviews) != 1 or len(products) != 1:
        raise InputError.file_unreadable(
            folder,
            f"{len(reviews)} files of reviews and {len(products)} of metadata, expected one each",
        )
    items, repeated = drop_repeats(_query(products[0], _ITEMS), (c.ITEM_ID,))
    ratings = _query(reviews[0], _RATINGS)
    place = ratings.column_names.index(c.EVENT_TIMESTAMP)
    times = times_from_epoch(ratings[c.EVENT_TIMESTAMP], "us")
    ratings = ratings.set_column(place, c.EVENT_TIMESTAMP, times)
    return build_ratings_dataset("amazon", items, ratings, dropped={REPEATED_ITEM: repeated})


def _find_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files whose first line is a review, and those where it is a product."""
    reviews, products = [], []
    for file in sorted(folder.glob("*")):
        if file.name.lower().endswith(_SUFFIXES):
            fields = _first_fields(file)
            if fields & _REVIEWERS and fields & _PRODUCTS:
                reviews.append(file)
            elif fields & _PRODUCTS:
                products.append(file)
    return reviews, products


def _first_fields(file: Path) -> set[str]:
    """Return the fields of a file's first line; none where it isn't a JSON object."""
    try:
        with _open_text(file) as lines:
            first = json.loads(lines.readline())
    except (OSError, EOFError, ValueError):
        return set()
    return set(first) if isinstance(first, dict) else set()


def _open_text(file: Path) -> IO[str]:
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")


def _query(file: Path, sql: str) -> pa.Table:
    try:
        with duckdb.connect() as connection:
            connection.execute(_MACROS)
            return connection.execute(sql, [str(file)]).to_arrow_table()
    except duckdb.Error as error:
        raise InputError.file_unreadable(file, error) from error
