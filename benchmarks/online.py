"""Match features online: the on-demand view against arrays of floats, and against one scalar.

100 items against a history of 50 at 384 dimensions, from a SQLite online store. All sides
answer the same requests in one process, turn by turn, in CPU seconds; then the feature
server answers them over HTTP. The data are synthetic. Takes about two minutes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.online_repo import CANDIDATES, ITEMS, USERS, build_repo, match_definition
from sail_features.feast_plugin import match_server, open_feature_store, warm_up
from sail_features.match.kernel import MatchResult, compute_match

ROUNDS: Final = 200
ARRAY_ROUNDS: Final = 10
PERCENTILES: Final = (50, 99)


def requests() -> list[dict[str, list[Any]]]:
    """Return one request a round: a user and items to rank for them."""
    rng = np.random.default_rng(5)
    return [
        {
            "user_id": [int(rng.integers(USERS))] * CANDIDATES,
            "item_id": rng.choice(ITEMS, CANDIDATES, replace=False).tolist(),
            "requested_at": [time.time_ns() // 1_000] * CANDIDATES,
        }
        for _ in range(ROUNDS)
    ]


def measure(side: Callable[[dict[str, Any]], Any], asked: list[Any]) -> dict[str, list[float]]:
    """Return the CPU and wall times of each request in milliseconds."""
    found: dict[str, list[float]] = {"cpu_ms": [], "wall_ms": []}
    for request in asked:
        cpu, wall = time.process_time(), time.perf_counter()
        side(request)
        found["cpu_ms"].append(1e3 * (time.process_time() - cpu))
        found["wall_ms"].append(1e3 * (time.perf_counter() - wall))
    return found


def percentiles(times: dict[str, list[float]]) -> dict[str, float]:
    """Return p50 and p99 of each clock."""
    return {
        f"{clock}_p{percent}": round(float(np.percentile(values, percent)), 3)
        for clock, values in times.items()
        for percent in PERCENTILES
    }


def measure_in_process(repo: Path) -> dict[str, dict[str, float]]:
    """Ask the store itself, side after side, each round."""
    warm_up(repo)
    store = open_feature_store(repo)
    served = store.get_feature_service("ranker_online")
    arrays = store.get_feature_service("ranker_arrays")
    server = match_server.match_server(match_definition(repo).model_dump_json())
    history = [f"user_history:history_{name}" for name in ("item_ids", "times", "weights")]

    def users(request: dict[str, Any]) -> dict[str, Any]:
        return {"user_id": request["user_id"]}

    def items(request: dict[str, Any]) -> dict[str, Any]:
        return {"item_id": request["item_id"]}

    asked = requests()
    whole = [
        {**store.get_online_features(history, users(request)).to_dict(), **request}
        for request in asked
    ]
    computed: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    with patch.object(match_server, "compute_match", _recorder(computed)):
        for request in whole:
            server.answer(request)
    sides: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "one scalar an item": (
            lambda r: store.get_online_features(["item_price:price"], items(r)),
            asked,
        ),
        "kernel": (lambda call: compute_match(*call[0], **call[1]), computed),
        "kernel and look-ups": (server.answer, whole),
        "on-demand view": (lambda r: store.get_online_features(served, r), asked),
        "on-demand view on arrays": (
            lambda r: store.get_online_features(arrays, r),
            asked[:ARRAY_ROUNDS],
        ),
    }
    times: dict[str, dict[str, list[float]]] = {
        name: {"cpu_ms": [], "wall_ms": []} for name in sides
    }
    for begin in range(0, ROUNDS, 20):
        for name, (side, all_asked) in sides.items():
            part = measure(side, all_asked[begin : begin + 20])
            for clock, values in part.items():
                times[name][clock] += values
    return {name: percentiles(found) for name, found in times.items()}


def _recorder(calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> Callable[..., MatchResult]:
    """Return the kernel, keeping what it is called with."""

    def compute(*arguments: Any, **options: Any) -> MatchResult:
        calls.append((arguments, options))
        return compute_match(*arguments, **options)

    return compute


def measure_over_http(repo: Path) -> dict[str, float]:
    """Ask `feast serve`, the first request of all included."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("feast"), "serve", "--port", str(port)]
    with (repo / "serve.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=repo, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"

    def ask(request: dict[str, Any]) -> None:
        body = json.dumps({"feature_service": "ranker_online", "entities": request}).encode()
        post = urllib.request.Request(  # noqa: S310
            f"{address}/get-online-features", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(post, timeout=60) as answer:  # noqa: S310
            answer.read()

    try:
        started = time.monotonic()
        while not _is_up(f"{address}/health") and time.monotonic() - started < 120:
            time.sleep(0.2)
        first, *others = measure(ask, requests())["wall_ms"]
    finally:
        server.terminate()
        server.wait(timeout=30)
    return {"first_ms": round(first, 1), **percentiles({"wall_ms": others})}


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> None:
    """Run all sides and hold them against the bars."""
    with tempfile.TemporaryDirectory() as folder:
        repo = build_repo(Path(folder))
        found = measure_in_process(repo)
        http = measure_over_http(repo)
    cpu = {name: times["cpu_ms_p50"] for name, times in found.items()}
    scalar, view = cpu["one scalar an item"], cpu["on-demand view"]
    bars = [
        Bar("kernel / one scalar an item", cpu["kernel"] / scalar, "at most", 0.2, "x"),
        Bar("view / view on arrays", view / cpu["on-demand view on arrays"], "at most", 0.25, "x"),
        Bar("first request over HTTP", http["first_ms"], "at most", 10 * http["wall_ms_p50"], "ms"),
    ]
    finish("online", bars, {**found, "over HTTP": http})


if __name__ == "__main__":
    main()
