"""Stand-ins offer what the real classes have, and nothing else."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest


def real_names():
    from slicer_host.standin import manifest

    return sorted(name for name in manifest if name.startswith(("ctk", "qMRML", "qSlicer")))


@pytest.fixture(scope="module")
def standin(slicer_host):
    from slicer_host import standin

    return standin


def test_every_public_name_of_every_stand_in_is_real(standin):
    invented = []
    for name in real_names():
        cls = standin.build(name)
        qt_base = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6"))
        for member in vars(cls):
            known = standin.manifest.has(name, member) or hasattr(qt_base, member)
            if not member.startswith("_") and member != "staticMetaObject" and not known:
                invented.append(f"{name}.{member}")
    assert not invented


def test_every_model_is_of_a_real_class_and_its_properties_are_real(standin):
    for name, body in standin.modelled().items():
        assert name in standin.manifest
        for member in vars(body):
            if member.startswith(("_get_", "_set_")) and member != "_set_up":
                declared = member[5:]
                assert any(declared in entry.properties for entry in standin.manifest.lineage(name)), (
                    f"{name}.{declared}"
                )


def test_every_real_member_is_there(standin):
    for name in real_names():
        cls = standin.build(name)
        for entry in standin.manifest.lineage(name):
            for member in [*entry.properties, *entry.signals, *entry.methods]:
                assert inspect.getattr_static(cls, member, None) is not None, f"{name}.{member}"


def test_what_is_real_but_not_modelled_says_so(host):
    import slicer
    from slicer_host import NotModelled

    with pytest.raises(NotModelled, match=r"qMRMLSegmentsTableView\.jumpSlices"):
        slicer.qMRMLSegmentsTableView().jumpSlices()


@pytest.mark.parametrize(
    "expression",
    [
        "slicer.qMRMLNodeComboBox().nodes()",  # a plain public C++ method: invisible from Python
        "setattr(slicer.qMRMLNodeComboBox(), 'fooBar', 1)",
        "slicer.qMRMLNodeComboBox().connect('nodeChanged()', print)",
        "ctk.ctkNoSuch",
        "slicer.qMRMLNoSuch",
        "slicer.getNode('x')",  # slicer-core spreads slicer.util over slicer; Slicer does not
        "slicer.app.noSuch",
    ],
)
def test_what_is_not_real_is_an_attribute_error(host, expression):
    import ctk
    import slicer

    with pytest.raises(AttributeError):
        eval(expression, {"slicer": slicer, "ctk": ctk, "setattr": setattr})


def test_trimming_keeps_what_all_versions_have_and_lists_default_arguments(tmp_path: Path):
    from slicer_host.trim_api import trim

    def method(name, *parameters):
        return {
            "name": name,
            "params": [dict(zip(("type", "default"), p.split("="), strict=False)) for p in parameters],
        }

    def source(slots):
        entry = {"bases": ["QWidget"], "properties": [], "signals": [], "slots": slots, "invokables": [], "enums": {}}
        return {"sources": {}, "classes": {"ctkA": entry, "ctkB": {**entry, "bases": ["ctkA"]}}}

    old, new = (
        source([method("show", "int", "bool=true")]),
        source([method("show", "int", "bool=true"), method("later")]),
    )
    kept = trim([old, new], ["ctkB"])["classes"]
    assert kept["ctkA"]["slots"] == ["show(int,bool)", "show(int)"]
    assert list(kept) == ["ctkA", "ctkB"]
    with pytest.raises(SystemExit, match="ctkC"):
        trim([old, new], ["ctkC"])
    json.dumps(kept)
