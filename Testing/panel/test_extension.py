"""The extension's files against each other: lists, resources, terminology, the .ui file."""

import json
import re
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import slicer
from KidneySegPanel import terminology
from panel_case import PanelTestCase, openPanel

from KidneySegLib.labels import LABELS

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "KidneySeg"


def listed(name):
    """Entries of a list in KidneySeg/CMakeLists.txt."""
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    body = re.search(rf"set\({name}\n(.*?)\n\s*\)", text, re.DOTALL)[1]
    return sorted(line.strip().replace("${MODULE_NAME}", "KidneySeg") for line in body.splitlines())


class TestExtension(unittest.TestCase):
    def test_cmake_lists_every_python_file(self):
        files = [path.relative_to(MODULE).as_posix() for path in MODULE.rglob("*.py")]
        assert listed("MODULE_PYTHON_SCRIPTS") == sorted(files)

    def test_cmake_lists_every_resource(self):
        files = [path.relative_to(MODULE).as_posix() for path in (MODULE / "Resources").rglob("*") if path.is_file()]
        assert listed("MODULE_PYTHON_RESOURCES") == sorted(files)

    def test_the_metadata_the_index_asks_for_are_there(self):
        text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
        for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
            assert re.search(rf'set\(EXTENSION_{name} "[^"]+"', text), name
        entry = json.loads((ROOT / "Resources/ExtensionsIndex/KidneySeg.json").read_text(encoding="utf-8"))
        assert f"project({'KidneySeg'})" in text
        assert entry["scm_url"].rpartition("/")[2].startswith("Slicer")
        icon = re.search(r'EXTENSION_ICONURL "[^"]*/main/([^"]+)"', text)[1]
        assert (ROOT / icon).is_file()

    def test_terminology_files_are_made_from_the_table_of_labels(self):
        folder = ROOT / "Resources" / "Terminology"
        for name, document in (
            ("KidneySeg.term.json", terminology.terminologyDocument()),
            ("KidneySeg.region.json", terminology.regionDocument()),
        ):
            assert json.loads((folder / name).read_text(encoding="utf-8")) == document, name

    def test_every_label_has_its_colour_in_the_colour_table(self):
        lines = (ROOT / "Resources/Colors/KidneySeg.ctbl").read_text(encoding="utf-8").splitlines()
        rows = {int(line.split()[0]): line.split() for line in lines if not line.startswith("#")}
        for label in LABELS:
            assert tuple(int(value) for value in rows[label.id][2:5]) == label.colour

    def test_slicers_terminology_logic_knows_every_entry(self):
        terminology.loadTerminology()
        logic = slicer.modules.terminologies.logic()
        assert logic.IsTerminologyContextLoaded(terminology.CONTEXT_NAME)
        for label in LABELS:
            entry = slicer.vtkSlicerTerminologyEntry()
            text = terminology.terminologyEntry(label)
            assert logic.DeserializeTerminologyEntry(text, entry), text
            assert entry.GetTypeObject().GetCodeValue() == label.type.value
            category = entry.GetCategoryObject()
            identifier = (
                logic.CodeIdentifier(
                    category.GetCodingSchemeDesignator(), category.GetCodeValue(), category.GetCodeMeaning()
                )
                if hasattr(logic, "CodeIdentifier")
                else None
            )
            if identifier is not None:
                found = slicer.vtkSlicerTerminologyCategory()
                assert logic.GetCategoryInTerminology(terminology.CONTEXT_NAME, identifier, found)
            assert logic.SerializeTerminologyEntry(entry) == text

    def test_no_code_of_ours_poses_as_snomed(self):
        for label in LABELS:
            for code in (label.category, label.type):
                assert (code.scheme == "99KIDNEYSEG") == (not code.value.isdigit())


class TestPanelFile(PanelTestCase):
    def test_every_control_has_a_tooltip(self):
        tree = ElementTree.parse(MODULE / "Resources" / "UI" / "KidneySeg.ui")
        kinds = {"QPushButton", "QComboBox", "QDoubleSpinBox", "QLineEdit", "QRadioButton", "qMRMLNodeComboBox"}
        for widget in tree.iter("widget"):
            if widget.get("class") in kinds:
                names = {item.get("name") for item in widget.findall("property")}
                assert "toolTip" in names, widget.get("name")

    def test_every_label_of_a_field_leads_to_it(self):
        tree = ElementTree.parse(MODULE / "Resources" / "UI" / "KidneySeg.ui")
        names = {widget.get("name") for widget in tree.iter("widget")}
        for label in tree.iter("widget"):
            text = label.findtext("property[@name='text']/string") or ""
            if label.get("class") == "QLabel" and "&" in text:
                assert label.findtext("property[@name='buddy']/cstring") in names, label.get("name")

    def test_shortcuts_of_a_section_are_not_given_twice(self):
        tree = ElementTree.parse(MODULE / "Resources" / "UI" / "KidneySeg.ui")
        for section in tree.iter("widget"):
            if section.get("class") != "ctkCollapsibleButton":
                continue
            keys = []
            for widget in section.iter("widget"):
                text = widget.findtext("property[@name='text']/string") or ""
                keys += re.findall(r"&(\w)", text.lower())
            assert len(keys) == len(set(keys)), (section.get("name"), sorted(keys))

    def test_the_panel_fits_380_pixels(self):
        for name in ("review", "measurements", "setup"):
            getattr(self.ui, f"{name}CollapsibleButton").collapsed = False
        self.process()
        root = self.ui.inputCollapsibleButton.parent()
        assert root.minimumSizeHint.width() <= 380, root.minimumSizeHint.width()

    def test_sections_that_the_engine_does_not_offer_are_hidden(self):
        self.panel.retrainingSection.showCapabilities({})
        assert not self.ui.retrainingCollapsibleButton.isVisibleTo(self.ui.retrainingCollapsibleButton.parent())
        self.panel.retrainingSection.showCapabilities({"retraining": True})
        assert self.ui.retrainingCollapsibleButton.isVisibleTo(self.ui.retrainingCollapsibleButton.parent())
        self.panel.retrainingSection.showCapabilities({})

    def test_models_and_devices_of_the_engine_are_offered(self):
        self.panel.refreshEngineFacts()
        self.waitFor(lambda: not self.logic.engine.busy)
        texts = [self.ui.deviceComboBox.itemText(number) for number in range(self.ui.deviceComboBox.count)]
        assert "Scripted CPU" in texts[0]
        assert "about" in texts[0]
        index = self.ui.modelComboBox.findData("other-model")
        self.ui.modelComboBox.setCurrentIndex(index)
        assert self.parameters.model == "other-model"
        assert self.ui.modelsTable.rowCount == 2

    def test_opening_the_panel_again_keeps_one_widget(self):
        assert openPanel() is self.widget


if __name__ == "__main__":
    unittest.main()
