"""Qt as PythonQt shows it."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def qt(host):
    import qt

    return qt


def test_properties_are_attributes_and_setters_stay(qt):
    button = qt.QPushButton("one")
    button.text = "two"
    button.setEnabled(False)
    assert (button.text, button.enabled, button.isEnabled()) == ("two", False, False)


def test_a_list_property_reads_as_a_tuple(host, qt):
    import slicer

    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLModelNode"]
    assert box.nodeTypes == ("vtkMRMLModelNode",)


def test_a_property_refuses_what_pythonqt_does_not_convert(qt):
    with pytest.raises(AttributeError, match="does not accept"):
        qt.QLabel().text = 5


def test_a_read_only_property_refuses(qt):
    with pytest.raises(AttributeError, match="not writable"):
        qt.QWidget().width = 5


def test_cpp_objects_grow_no_attributes_but_python_subclasses_do(qt):
    with pytest.raises(AttributeError, match="not allowed"):
        qt.QPushButton().colour = 1

    class Own(qt.QWidget):
        pass

    own = Own()
    own.colour = 1
    assert own.colour == 1


def test_children_and_dynamic_properties_are_attributes(qt):
    parent = qt.QWidget()
    label = qt.QLabel(parent)
    label.name = "title"
    parent.setProperty("SlicerParameterName", "threshold")
    assert parent.title is label
    assert parent.SlicerParameterName == "threshold"
    assert parent.findChild("QLabel", "title") is label


def test_connect_cuts_surplus_arguments(qt):
    button, got = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", got.append)
    button.click()
    assert got == ["none", True]


def test_disconnect_takes_one_function_away(qt):
    button, got = qt.QPushButton(), []
    button.connect("clicked()", got.append)

    def slot():
        got.append("slot")

    button.connect("clicked()", slot)
    button.disconnect("clicked()", slot)
    assert not button.disconnect("clicked()", slot)


def test_an_unknown_signal_is_an_error(qt):
    with pytest.raises(AttributeError, match="clickd"):
        qt.QPushButton().connect("clickd(bool)", print)


def test_enum_values_are_numbers(qt):
    assert int(qt.Qt.Checked) == 2
    assert qt.QColor(1, 2, 3).name(qt.QColor.HexRgb) == "#010203"
    assert qt.QProcess().Running == qt.QProcess.Running


@pytest.mark.parametrize("connect", [lambda b, f: b.connect("clicked(bool)", f), lambda b, f: b.clicked.connect(f)])
def test_an_exception_in_a_slot_is_recorded(host, qt, connect):
    button = qt.QPushButton()

    def fail():
        raise ValueError("in a slot")

    connect(button, fail)
    button.click()
    assert [str(e) for e in host.errors.take()] == ["in a slot"]


def test_exceptions_in_timers_and_vtk_observers_are_recorded(host, qt):
    import slicer

    def fail(*_):
        raise ValueError("here")

    qt.QTimer.singleShot(0, fail)
    assert host.process_events(until=lambda: host.errors)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    node.AddObserver("ModifiedEvent", fail)
    node.Modified()
    assert len(host.errors.take()) == 2


def test_a_process_tells_its_end(host, qt):
    process, codes = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: codes.append(code))
    process.start(sys.executable, ["-c", "print('hello')"])
    assert host.process_events(until=lambda: codes, timeout_s=60)
    assert bytes(process.readAllStandardOutput()).strip() == b"hello"
