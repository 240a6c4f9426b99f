"""The list of what comes along: complete, with licences, and without any network."""

from __future__ import annotations

import re
from importlib.metadata import requires

import pytest

from Testing.sbom import sbom, unlicensed


def test_every_dependency_is_listed_with_version_and_licence() -> None:
    bill = sbom()
    names = {re.sub(r"[-_.]+", "-", one["name"]).lower() for one in bill["components"]}
    wanted = [text for text in requires("kidneyseg") or () if "extra ==" not in text]
    assert len(wanted) > 10
    assert {re.split(r"[<>=! ;]", text)[0].lower() for text in wanted} <= names
    # What these need in their turn, too.
    assert {"markdown-it-py", "pyjpegls"} <= names
    assert unlicensed(bill) == []
    assert all(one["version"] and one["purl"].endswith(one["version"]) for one in bill["components"])
    assert bill["bomFormat"] == "CycloneDX"


def test_running_needs_nothing_under_a_licence_that_spreads() -> None:
    """Without extras: what a hospital installs beside the program."""
    licences = [one["licenses"][0]["license"]["name"] for one in sbom()["components"]]
    assert not [text for text in licences if re.search(r"\bA?GPL", text) and "LGPL" not in text]


def test_extras_bring_more() -> None:
    pytest.importorskip("distributed")
    few, many = ({one["name"] for one in sbom(extras=extras)["components"]} for extras in ((), ("cohort",)))
    assert "distributed" in many - few
