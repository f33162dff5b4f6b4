"""All probes, one after the other, and what to do where one fails."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.markup import escape
from rich.table import Table

from sail_features.feast_plugin.doctor import join_probes as join
from sail_features.feast_plugin.doctor import write_probes as write
from sail_features.feast_plugin.doctor.encode_probe import encoded_once
from sail_features.feast_plugin.doctor.workspace import ProbeStore

OURS: Final = (
    "in feature_store.yaml, offline_store: type: "
    "sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore, "
    "or for Spark sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore"
)
ENGINE: Final = (
    "in feature_store.yaml, batch_engine: type: "
    "sail_features.feast_plugin.engine.spark_engine.SailSparkComputeEngine"
)
CUT: Final = f"ask with filter_by_created_timestamp=True; or, for all: {OURS}"
SQL_REGISTRY: Final = "in feature_store.yaml, registry: registry_type: sql"
PROBES: Final[Sequence[tuple[Callable[[ProbeStore], str | None], str]]] = (
    (join.one_user_three_items, OURS),
    (join.pairs_of_one_text, OURS),
    (join.repeated_keys, OURS),
    (join.created_later, CUT),
    (join.created_later_when_asked_to_cut, OURS),
    (join.too_old, OURS),
    (join.row_order, f"carry a row number and sort; or {OURS}"),
    (join.unknown_entity, OURS),
    (join.end_of_ttl, OURS),
    (write.materialised_twice, "write each window with a job that replaces it whole"),
    (encoded_once, ENGINE),
    (write.applied_at_once, SQL_REGISTRY),
)


@dataclass(frozen=True)
class Finding:
    """What one probe found: its sentence, what is wrong if anything, and the remedy."""

    probe: str
    sentence: str
    problem: str | None
    remedy: str

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None


def examine(repo: Path) -> tuple[str, list[Finding]]:
    """Return the type of the offline store that ``repo`` names, and what each probe found.

    Raises
    ------
    ConfigError
        There is no ``feature_store.yaml``, or nothing here can examine its store.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = ProbeStore(repo.resolve(), Path(folder))
        return store.offline_store, [_find(store, probe, remedy) for probe, remedy in PROBES]


def _find(store: ProbeStore, probe: Callable[[ProbeStore], str | None], remedy: str) -> Finding:
    """Run one probe; Feast's own printing is kept away, an exception of it is a finding."""
    silence = io.StringIO()
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            problem = probe(store)
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return Finding(probe.__name__, (probe.__doc__ or "").strip(), problem, remedy)


def findings_table(store: str, findings: Sequence[Finding]) -> Table:
    """Return a table of what passed, what failed, and the remedies."""
    table = Table(title=f"Offline store {store}", title_justify="left", show_lines=True)
    for heading in ("", "what must hold", "found", "remedy"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        verdict = "[green]pass[/green]" if finding.passed else "[red]fail[/red]"
        remedy = "" if finding.passed else finding.remedy
        table.add_row(verdict, finding.sentence, escape(finding.problem or ""), escape(remedy))
    return table
