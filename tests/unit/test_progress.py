"""What whoever watches a long run sees, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sail_features import progress as progress_module
from sail_features.progress import Progress, say_duration, watched


def console_of(*, terminal):
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=120, color_system=None), file


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that only the test moves, for the lines of a log."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_nothing_done_yet_promises_nothing():
    assert str(Progress(0, 200, 0.0)) == str(Progress(0, 200, 5.0)) == "0 of 200 (0 %)"


def test_rate_and_rest_are_those_of_the_run_so_far():
    assert str(Progress(1500, 6000, 30)) == "1,500 of 6,000 (25 %), 50 items/s, 1 min 30 s left"
    assert str(Progress(6000, 6000, 120)) == "6,000 of 6,000 (100 %), 50 items/s, 0 s left"


@given(
    total=st.integers(1, 10**9), share=st.floats(0, 1), seconds=st.floats(0, 1e7, allow_nan=False)
)
def test_any_progress_can_be_said_in_one_line(total, share, seconds):
    said = str(Progress(round(share * total), total, seconds))
    assert f"of {total:,} (" in said
    assert "\n" not in said


@given(seconds=st.floats(0, 1e9, allow_nan=False))
def test_duration_is_right_to_its_smaller_unit(seconds):
    words = say_duration(seconds).split()
    unit = {"s": 1, "min": 60, "h": 3600}
    pairs = list(zip(words[::2], words[1::2], strict=True))
    said = sum(int(number) * unit[name] for number, name in pairs)
    assert abs(said - seconds) <= unit[pairs[-1][1]]


def test_terminal_shows_the_newest_progress_on_one_line_and_leaves_it_clean():
    console, file = console_of(terminal=True)
    with watched(console, "encode") as watch:
        console.print("begun")  # a print draws the line anew below itself
        watch(Progress(50, 200, 10))
        console.print("going on")
    before, after = file.getvalue().split("going on")
    assert "encode ..." in before
    assert "encode: 50 of 200" not in before.split("begun")[0]
    assert "encode: 50 of 200 (25 %), 5 items/s, 30 s left" in after
    assert after.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is back, the line is gone


def test_log_gets_a_line_a_minute_and_no_control_codes(clock):
    console, file = console_of(terminal=False)
    with watched(console, "encode") as watch:
        for second in range(1, 151):
            clock.now = 1000.0 + second
            watch(Progress(second, 150, second))
    lines = file.getvalue().splitlines()
    assert lines == [
        "encode: 60 of 150 (40 %), 1 items/s, 1 min 30 s left",
        "encode: 120 of 150 (80 %), 1 items/s, 30 s left",
    ]


def test_error_ends_the_line_and_passes():
    console, file = console_of(terminal=True)
    with pytest.raises(KeyError), watched(console, "encode"):
        raise KeyError("x")
    assert "\x1b[?25h" in file.getvalue()
