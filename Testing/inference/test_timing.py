"""Works take turns, and as many as there is time for."""

from __future__ import annotations

import time

from KidneySegLib.inference.timing import seconds_in_turn


def test_works_take_turns_and_the_slower_one_took_longer() -> None:
    done: list[str] = []

    def slow() -> None:
        done.append("slow")
        time.sleep(0.02)

    fast_seconds, slow_seconds = seconds_in_turn([lambda: done.append("fast"), slow], 3)
    assert done == ["fast", "slow"] * 3
    assert 0 <= fast_seconds < slow_seconds
    assert slow_seconds >= 0.02


def test_one_turn_is_taken_and_none_begins_after_the_time() -> None:
    done: list[int] = []
    seconds_in_turn([lambda: done.append(1)], 100, most_seconds=0)
    assert done == [1]
