"""Set-up inside Slicer: what is asked, when, and what is said of this computer."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from KidneySegPanel import packages, preflight
from panel_case import PanelTestCase

ROOT = Path(__file__).resolve().parents[2]


class TestPackages(unittest.TestCase):
    def requirements(self, text):
        path = Path(tempfile.mkdtemp()) / "requirements.txt"
        path.write_text(text, encoding="utf-8")
        return path

    def test_our_requirements_are_small_and_have_lower_bounds_only(self):
        lines = packages.requirementLines()
        assert "openvino" in {line.partition(">=")[0] for line in lines}
        for line in lines:
            name = line.partition(">=")[0]
            assert name.lower() not in ("torch", "numpy", "simpleitk", "torchvision", "nnunetv2", "monai")
            assert "==" not in line
            assert "<" not in line

    def test_missing_and_old_packages_are_found(self):
        path = self.requirements("numpy>=1.0\nno-such-package-here>=1\nnumpy>=999\n# a comment\n")
        assert packages.missingPackages(path) == ["no-such-package-here>=1", "numpy>=999"]

    def test_versions_compare_as_numbers(self):
        path = self.requirements("x>=2.10")
        for installed, missing in (("2.9", True), ("2.10", False), ("2.10.0", False), ("2.11rc1", False), ("3", False)):
            with mock.patch("importlib.metadata.version", return_value=installed):
                assert bool(packages.missingPackages(path)) == missing, installed

    def test_importing_the_module_installs_and_loads_nothing_heavy(self):
        code = (
            "import sys; sys.path[:0] = ['Testing', 'KidneySeg', '.']\n"
            "from slicer_host import install; install()\n"
            "before = set(sys.modules)\n"
            "import KidneySeg\n"
            "heavy = {'torch', 'openvino', 'SimpleITK', 'scipy', 'pydicom', 'highdicom', 'pip'}\n"
            "print(sorted(heavy & (set(sys.modules) - before)))\n"
        )
        if not (ROOT / "Testing" / "slicer_host").is_dir() or "slicer_host" not in sys.modules:
            self.skipTest("a second Python with the test host is needed")
        outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert outcome.stdout.strip() == "[]", outcome.stdout + outcome.stderr


class TestAsking(PanelTestCase):
    def test_a_user_who_declines_is_not_asked_twice_and_nothing_runs(self):
        from panel_case import kidneyVolume

        self.choose(kidneyVolume())
        with (
            mock.patch("KidneySegPanel.panel.missingPackages", return_value=["openvino>=2025.0"]),
            mock.patch("KidneySegPanel.panel.installPackages", return_value=False) as asked,
        ):
            self.ui.segmentButton.click()
        assert asked.call_count == 1
        assert not self.panel.running
        assert "packages" in self.ui.messageLabel.text

    def test_a_failed_installation_says_how_without_internet(self):
        missing = ["no-such-package-here>=1"]
        with (
            mock.patch("KidneySegPanel.packages.missingPackages", return_value=missing),
            mock.patch("KidneySegPanel.packages._install", side_effect=OSError("no route to host")),
            mock.patch("KidneySegPanel.panel.missingPackages", return_value=missing),
        ):
            assert not self.panel.ensurePackages()
        assert "no route to host" in self.ui.messageLabel.text
        assert "Offline installation" in self.ui.messageLabel.text

    def test_the_section_says_whether_this_computer_is_ready(self):
        self.ui.setupCollapsibleButton.collapsed = True
        self.ui.setupCollapsibleButton.collapsed = False
        for words in ("Packages", "Disk", "Memory"):
            assert words in self.ui.preflightLabel.text


class TestPreflight(unittest.TestCase):
    def test_long_windows_paths(self):
        deep = "C:\\Users\\someone.with.a.long.name\\AppData\\Local\\slicer.org\\Slicer 5.12.1\\lib\\Python" * 2
        assert preflight.pathCheck(deep, "nt", False).level == "problem"
        assert "C:\\Slicer" in preflight.pathCheck(deep, "nt", False).text
        assert preflight.pathCheck(deep, "nt", True) is None
        assert preflight.pathCheck("C:\\Slicer", "nt", False) is None
        assert preflight.pathCheck(deep, "posix", False) is None

    def test_disk_and_memory(self):
        assert preflight.diskCheck(1_000_000_000).level == "problem"
        assert preflight.diskCheck(10_000_000_000).level == "good"
        assert preflight.memoryCheck(4_000_000_000).level == "warning"
        assert preflight.memoryCheck(16_000_000_000).level == "good"
        assert preflight.memoryCheck(None) is None

    def test_torch_beside_a_gpu(self):
        assert preflight.torchCheck(None, None) is None
        assert preflight.torchCheck("2.8.0+cpu", None) is None
        assert preflight.torchCheck("2.8.0+cu128", "RTX").level == "good"
        assert "processors only" in preflight.torchCheck("2.8.0+cpu", "RTX").text
        assert preflight.torchCheck(None, "RTX").level == "warning"
        assert preflight.torchCheck("broken", None).level == "problem"

    def test_half_installed_torch_is_seen(self):
        distribution = mock.Mock(files=None, version="2.8.0")
        with mock.patch("importlib.metadata.distribution", return_value=distribution):
            assert preflight.torchState() == "broken"

    def test_offline_and_rosetta(self):
        assert "offline" in preflight.networkCheck(False).text
        assert preflight.processorCheck("Darwin", "x86_64", True).level == "warning"
        assert preflight.processorCheck("Linux", "x86_64", False) is None


if __name__ == "__main__":
    unittest.main()
