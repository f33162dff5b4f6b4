"""Wrong input ends at once with exit code 2 and one message that says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).parent / "sail-features"
ITEMS = "sku,name,since\na,red wine,2026-01-01T00:00:00Z\nb,green tea,2026-01-01T00:00:00Z\n"
EVENTS = "who,what,at,kind\nu,a,2026-02-01T00:00:00Z,buy\nv,b,2026-02-02T00:00:00Z,buy\n"
SHOWN = "who,what,at,clicked\nu,a,2026-02-01T00:00:00Z,1\nv,a,2026-02-02T00:00:00Z,0\n"
MAPPING = """
items: {item_id: sku, event_timestamp: since, text: [name]}
events: {user_id: who, item_id: what, event_timestamp: at, event_type: kind, weights: {buy: 1}}
impressions: {user_id: who, item_id: what, event_timestamp: at, label: clicked}
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments],
        cwd=cwd,
        env={**os.environ, "TZ": "UTC", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def import_files(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    texts = {"items": ITEMS, "events": EVENTS, "impressions": SHOWN, "mapping": MAPPING} | files
    (folder / "sail.yaml").write_text("workspace: build\nencoder: {kind: hash}\n")
    options = []
    for name, text in texts.items():
        path = folder / f"{name}.{'yaml' if name == 'mapping' else 'csv'}"
        path.write_text(text)
        options += [f"--{name}", str(path)]
    return run("import", *options, cwd=folder)


def test_own_tables_are_imported(tmp_path: Path) -> None:
    done = import_files(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote impressions" in done.stdout


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"items": ITEMS.replace("sku", "code")}, "'sku'"),
        ({"items": ITEMS + "a,again,2026-01-01T00:00:00Z\n"}, "more than once"),
        ({"events": EVENTS.replace("Z,", ",")}, "timezone"),
        ({"events": EVENTS.replace("2026-02-01", "2096-02-01")}, "2096"),
        ({"items": "sku,name,since\n"}, "no rows"),
        ({"impressions": SHOWN.replace(",0\n", ",1\n")}, "label"),
        ({"mapping": "{}"}, "mapping"),
        ({"mapping": MAPPING + "\n  - ["}, "mapping"),
        ({"items": "PAR1\x00\x00"}, "items"),
    ],
    ids=[
        "missing column",
        "duplicate key",
        "no zone",
        "future",
        "empty",
        "one class",
        "mapping of nothing",
        "broken mapping",
        "unreadable",
    ],
)
def test_bad_table_is_refused_before_anything_is_written(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    done = import_files(tmp_path, **files)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert "Hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["encode"], "encoder: {kind: oracle}", "encoder.kind"),
        (["encode"], "speed: 9", "speed"),
        (["encode", "--as-of", "soon"], "", "soon"),
        (["match"], "", "sail-features encode"),
        (["encode"], "encoder: {model: nobody/nothing}", "nobody/nothing"),
        (["demo", "--data", "nowhere"], "", "nowhere"),
        (["match", "--candidates", "nowhere.parquet"], "", "nowhere.parquet"),
        (["match", "--candidates", "top.parquet", "--since", "2024-01-01"], "", "--since"),
        (["match", "--random-seed", "0", "--delay", "1h"], "", "--random-seed and --delay"),
        (["match", "--delay", "soon"], "", "--delay"),
        (["import"], "", "--source"),
        (["import", "--source", "synthetic", "--items", "items.csv"], "", "one of the two"),
    ],
    ids=[
        "choice",
        "key",
        "date",
        "not encoded",
        "model",
        "folder",
        "no candidates",
        "candidates since",
        "two controls",
        "no length of time",
        "no source",
        "two sources",
    ],
)
def test_bad_command_is_refused(
    tmp_path: Path, arguments: list[str], settings: str, says: str
) -> None:
    assert import_files(tmp_path).returncode == 0
    (tmp_path / "sail.yaml").write_text(f"workspace: build\n{settings}\n")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
