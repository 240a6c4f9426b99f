"""Speed and remaining time."""

from __future__ import annotations

import pytest

from KidneySegLib.cli.batch_progress import duration, facts
from KidneySegLib.cohort.throughput import BatchState, Counter


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_case_every_ten_seconds() -> None:
    clock = Clock()
    counter = Counter(total=100, skipped=50, clock=clock)
    assert counter.state() == BatchState(total=100, skipped=50)
    for index in range(10):
        clock.now_s += 10
        counter.made(f"case {index}") if index % 2 else counter.failed(f"case {index}")
    state = counter.state(workers=3)
    assert (state.made, state.failed, state.skipped, state.finished, state.workers) == (5, 5, 50, 60, 3)
    assert state.cases_per_hour == pytest.approx(360.0)
    assert state.remaining_s == pytest.approx(400.0)
    assert state.last == "case 9"
    clock.now_s += 4
    assert counter.state().remaining_s == pytest.approx(396.0)


def test_skipped_cases_do_not_count_as_speed() -> None:
    clock = Clock()
    counter = Counter(total=1000, skipped=0, clock=clock)
    for _ in range(500):
        counter.skipped("x")
    assert counter.state().cases_per_hour is None
    assert counter.state().remaining_s is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (70, "1 min"), (3600 * 3 + 1200, "3 h 20 min"), (86400 * 2 + 3600 * 3, "2 d 3 h")],
)
def test_durations_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_facts_for_the_bar() -> None:
    state = BatchState(total=10, made=4, failed=1, workers=2, cases_per_hour=360.4, remaining_s=50)
    assert facts(state) == "1 failed, 360/h, 50 s left, 2 workers"
    assert facts(BatchState(total=10)) == ""
