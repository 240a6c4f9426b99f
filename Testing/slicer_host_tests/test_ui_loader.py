""".ui files: made by class name, and held against the API."""

from __future__ import annotations

from pathlib import Path

import pytest

UI = """<ui version="4.0"><class>T</class><widget class="qMRMLWidget" name="T"><layout class="QVBoxLayout" name="l">
<item><widget class="{cls}" name="selector"><property name="{prop}"><bool>true</bool></property></widget></item>
<item><widget class="ctkPathLineEdit" name="path"><property name="filters">
<set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property></widget></item>
</layout></widget><customwidgets><customwidget><class>{cls}</class><extends>QWidget</extends><header>x.h</header></customwidget></customwidgets>
<connections><connection><sender>T</sender><signal>{signal}</signal><receiver>selector</receiver><slot>{slot}</slot></connection></connections></ui>"""
GOOD = {
    "cls": "qMRMLNodeComboBox",
    "prop": "noneEnabled",
    "signal": "mrmlSceneChanged(vtkMRMLScene*)",
    "slot": "setMRMLScene(vtkMRMLScene*)",
}


def load(tmp_path: Path, **changes: str):
    import slicer

    file = tmp_path / "T.ui"
    file.write_text(UI.format(**{**GOOD, **changes}))
    return slicer.util.loadUI(str(file))


def test_widgets_properties_enums_and_connections(host, tmp_path):
    import slicer

    widget = load(tmp_path)
    ui = slicer.util.childWidgetVariables(widget)
    widget.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.noneEnabled is True
    assert ui.selector.mrmlScene() is slicer.mrmlScene
    assert ui.path.filters == ui.path.Dirs | ui.path.Readable


@pytest.mark.parametrize(
    "changes",
    [
        {"cls": "qMRMLNoSuchBox"},
        {"prop": "noneEnabledd"},
        {"signal": "mrmlSceneChangd(vtkMRMLScene*)"},
        {"slot": "setMRMLScen(vtkMRMLScene*)"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_slicer_does_not_have_is_refused(host, tmp_path, changes):
    from slicer_host import UiFileError

    with pytest.raises(UiFileError):
        load(tmp_path, **changes)
