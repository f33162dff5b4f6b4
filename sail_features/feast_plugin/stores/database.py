"""A DuckDB database in memory for one job: its times in UTC, its overflow on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa


def open_database(
    *,
    memory_limit: str | None = None,
    threads: int | None = None,
    temp_directory: str | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open a database that goes when its last connection does.

    Parameters
    ----------
    memory_limit : "8GB"; DuckDB's default is 80 % of the machine's memory.
    threads : DuckDB's default is one a core.
    temp_directory : for what is larger than memory; by default the system's.
    """
    settings = {
        "memory_limit": memory_limit,
        "threads": threads,
        "temp_directory": temp_directory or str(Path(tempfile.gettempdir()) / "sail-duckdb"),
    }
    con = duckdb.connect(config={name: value for name, value in settings.items() if value})
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    return con


def load_table(con: duckdb.DuckDBPyConnection, rows: pa.Table, name: str) -> str:
    """Copy Arrow rows into a table of DuckDB, and return its name.

    Not just registered: an ``ASOF JOIN`` that scans a registered Arrow table never
    ended (seen with DuckDB 1.5.6 and pyarrow 25).
    """
    con.register("arrow_rows", rows)
    con.execute(f"CREATE OR REPLACE TABLE {name} AS FROM arrow_rows")
    con.unregister("arrow_rows")
    return name
