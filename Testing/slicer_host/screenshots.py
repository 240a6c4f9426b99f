"""Pictures for the README: the panel in its states, and slice and 3D views with the result on top.

`make screenshots` runs `main` through Testing/make_screenshots.py. The panel is the real one, its engine too (or, with
--scripted, the tests' engine, which needs no model); views are rendered by Slicer's displayable managers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .host import Host, install
from .pictures import PANEL_WIDTH_PX, picture_of

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("input", "segment", "review", "measurements", "retraining", "setup")
VIEW_PX = 420
RUN_LIMIT_S = 1800.0
GAP_PX = 8
ABDOMEN_WINDOW_LEVEL_HU = (400, 60)


class PanelCamera:
    """Takes pictures of the open panel with chosen sections unfolded."""

    def __init__(self, host: Host, widget: Any, folder: Path) -> None:
        self.host, self.widget, self.ui, self.folder = host, widget, widget.ui, folder

    def unfold(self, *sections: str) -> None:
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").collapsed = section not in sections

    def take(self, name: str, *sections: str) -> Path:
        self.unfold(*sections)
        self.host.process_events()
        path = self.folder / f"{name}.png"
        width, height = picture_of(self.widget.parent, path)
        note = "" if width <= PANEL_WIDTH_PX else f", wider than {PANEL_WIDTH_PX}: something in the panel is too wide"
        print(f"{path.name}: {width} x {height}{note}")
        return path


def wait(host: Host, condition: Any, what: str) -> None:
    if not host.process_events(until=condition, timeout_s=RUN_LIMIT_S):
        raise SystemExit(f"no screenshots: {what} did not end in {RUN_LIMIT_S:.0f} s")


def views_of(segmentation: Any, volume: Any, folder: Path) -> list[Path]:
    """Axial, 3D, coronal and (through one kidney) sagittal view, in the order of Slicer's four-up layout."""
    from .views import SliceView, ThreeDView

    bounds = [0.0] * 6
    segmentation.GetRASBounds(bounds)
    middle = tuple((bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3))
    kidney = segmentation.GetSegmentCenterRAS(segmentation.GetSegmentation().GetNthSegmentID(0))
    width_mm = 1.5 * max(bounds[1] - bounds[0], bounds[5] - bounds[4])
    paths = []
    for name, file in (("Red", "view-axial"), ("Green", "view-coronal"), ("Yellow", "view-sagittal")):
        centre = kidney if name == "Yellow" else middle
        view = SliceView(name, (VIEW_PX, VIEW_PX))
        view.show(volume, centre_ras=centre, field_of_view_mm=width_mm)
        paths.append(folder / f"{file}.png")
        view.save(paths[-1])
        view.close()
    segmentation.CreateClosedSurfaceRepresentation()
    view = ThreeDView((VIEW_PX, VIEW_PX))
    view.look_from_front(zoom=1.0)
    paths.insert(1, folder / "view-3d.png")  # where Slicer's four-up layout has it
    view.save(paths[1])
    view.close()
    return paths


def side_by_side(panel: Path, views: list[Path], path: Path) -> None:
    """One picture as the user sees it: the panel left, the views right."""
    from PIL import Image

    left = Image.open(panel)
    pictures = [Image.open(view) for view in views]
    columns = 2
    rows = (len(pictures) + columns - 1) // columns
    height = max(left.height, rows * (VIEW_PX + GAP_PX) - GAP_PX)
    whole = Image.new("RGB", (left.width + columns * (VIEW_PX + GAP_PX), height), "#f0f0f0")
    whole.paste(left, (0, 0))
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        whole.paste(picture, (left.width + GAP_PX + column * (VIEW_PX + GAP_PX), row * (VIEW_PX + GAP_PX)))
    whole.save(path, optimize=True)
    print(f"{path.name}: {whole.width} x {whole.height}")


def load_case(host: Host, widget: Any, scripted: bool) -> Any:
    """The sample case through the panel's own button; with `scripted`, the small volume of the panel's tests."""
    if scripted:
        import sys

        sys.path.insert(0, str(ROOT / "Testing" / "panel"))
        import panel_case

        widget.logic.engine.end(event="cancelled")
        widget.logic.engine.command = panel_case.scriptedCommand()
        widget.ui.inputSelector.setCurrentNode(panel_case.kidneyVolume("Arterial CT"))
    else:
        widget.ui.sampleButton.click()
    wait(host, lambda: widget.ui.inputSelector.currentNode() is not None, "loading the sample case")
    wait(host, lambda: widget.ui.segmentButton.enabled, "checking the sample case")
    volume = widget.ui.inputSelector.currentNode()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(*ABDOMEN_WINDOW_LEVEL_HU)
    return volume


def take_all(host: Host, widget: Any, folder: Path, scripted: bool) -> None:
    """Go through the main job and take a picture at each stage."""
    camera = PanelCamera(host, widget, folder)
    volume = load_case(host, widget, scripted)
    host.process_events(until=lambda: False, timeout_s=3.0)  # the phase estimate follows the other checks
    camera.take("panel-input", "input", "segment")
    widget.ui.segmentButton.click()
    host.process_events(until=lambda: not widget.panel.running, timeout_s=2.0)
    if widget.panel.running:
        camera.take("panel-running", "input", "segment")
    wait(host, lambda: not widget.panel.running, "segmenting")
    segmentation = widget._parameterNode.segmentation
    if segmentation is None:
        raise SystemExit(f"no screenshots: no result; the panel says: {widget.ui.messageLabel.text}")
    result = camera.take("panel-result", "input", "segment")
    camera.take("panel-review", "review")
    camera.take("panel-measurements", "measurements")
    camera.take("panel-setup", "retraining", "setup")
    side_by_side(result, views_of(segmentation, volume, folder), folder / "overview.png")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the panel's screenshots.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "Resources" / "Screenshots")
    parser.add_argument(
        "--scripted", action="store_true", help="use the tests' engine: for trying the pictures without a model"
    )
    options = parser.parse_args(arguments)
    host = install()
    host.load_module(ROOT / "KidneySeg" / "KidneySeg.py")
    widget = host.open_panel("KidneySeg")
    try:
        take_all(host, widget, options.output, options.scripted)
    finally:
        host.unload_module("KidneySeg")
    for error in host.errors:
        print(f"exception in a slot or observer: {error!r}")
    return int(bool(host.errors))
