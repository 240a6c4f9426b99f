"""Rules for all tests: what may be skipped, and where the program may write."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator

import pytest

#: With CI=true only a missing kind of machine, or an older Python, excuses a skip. A missing system package, Python
#: package or model bundle does not: there the test fails, so that a green run means that everything ran.
EXCUSES = re.compile(r"\b(CUDA|MPS|GPU|NPU|processor|Windows|macOS|Linux|POSIX|root|mount|tomllib)\b")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not EXCUSES.search(reason):
            report.outcome = "failed"
            report.longrepr = f"{reason}\nWith CI=true this may not be skipped: make setup-dev installs what it needs."


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never see or change the models of the person who runs them."""
    monkeypatch.setenv("KIDNEYSEG_HOME", str(tmp_path_factory.getbasetemp() / "kidneyseg-home"))


@pytest.fixture(autouse=True)
def _numbers_stay_numbers() -> Generator[None]:
    """Training lets the processor round the smallest numbers to 0; no other test of this process shall see that."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
