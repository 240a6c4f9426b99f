"""Checks of a volume that need no engine: is it HU, how thick are slices, how does it lie, what does it cover."""

from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from KidneySegPanel.volume_grid import hasRightAngles, isRigid

# As KidneySegLib.flags: above these, cortex and medulla are uncertain.
THICK_SLICES_MM = 5.0
COARSE_PIXELS_MM = 1.5
# Two kidneys of an adult, with their usual difference in height, span about this much.
KIDNEYS_SPAN_MM = 160.0
OBLIQUE_DEGREES = 5.0

GOOD, WARNING, PROBLEM = "good", "warning", "problem"
_MARKS = {GOOD: ("✔", "#3a9d3a"), WARNING: ("!", "#d08a00"), PROBLEM: ("✘", "#e05050"), "": ("…", "#888888")}


@dataclass(frozen=True)
class Check:
    """One row: level is GOOD, WARNING, PROBLEM, or "" while not known."""

    level: str
    title: str
    text: str


def geometryChecks(ijkToRas, size, parentTransform, sliceThicknessMm=None):
    """Checks of size and position.

    :param ijkToRas: 4x4 of the volume. :param size: (x, y, z) voxels.
    """
    axes = ijkToRas[:3, :3] / np.linalg.norm(ijkToRas[:3, :3], axis=0)
    sliceAxis = int(np.argmax(np.abs(axes[2, :])))
    spacing = np.linalg.norm(ijkToRas[:3, :3], axis=0)
    thickness = max(sliceThicknessMm or 0.0, spacing[sliceAxis])
    pixels = max(np.delete(spacing, sliceAxis))
    return (
        _thicknessCheck(thickness),
        _pixelCheck(pixels),
        _orientationCheck(axes, sliceAxis, ijkToRas, parentTransform),
        _coverageCheck(size[sliceAxis] * spacing[sliceAxis] * abs(axes[2, sliceAxis])),
    )


def _thicknessCheck(thickness):
    text = _("{thickness:.1f} mm").format(thickness=thickness)
    if thickness > THICK_SLICES_MM:
        return Check(WARNING, _("Slice thickness"), text + ". " + _("Over 5 mm: cortex and medulla are uncertain."))
    return Check(GOOD, _("Slice thickness"), text)


def _pixelCheck(pixels):
    text = _("{pixels:.2f} mm").format(pixels=pixels)
    if pixels > COARSE_PIXELS_MM:
        return Check(WARNING, _("Pixels"), text + ". " + _("Over 1.5 mm: cortex and medulla are uncertain."))
    return Check(GOOD, _("Pixels"), text)


def _orientationCheck(axes, sliceAxis, ijkToRas, parentTransform):
    title = _("Orientation")
    if not hasRightAngles(ijkToRas):
        return Check(WARNING, title, _("Tilted gantry: the scan is measured on a straightened copy."))
    if not isRigid(parentTransform):
        return Check(WARNING, title, _("Under a transform that changes its shape: measured on a straightened copy."))
    angle = np.degrees(np.arccos(min(1.0, abs(axes[2, sliceAxis]))))
    plane = _("axial") if sliceAxis == 2 else _("not axial")
    if angle > OBLIQUE_DEGREES:
        return Check(GOOD, title, _("{plane}, tilted by {angle:.0f}°").format(plane=plane, angle=angle))
    return Check(GOOD, title, plane)


def _coverageCheck(height):
    text = _("{height:.0f} mm from head to foot").format(height=height)
    if height < KIDNEYS_SPAN_MM:
        return Check(WARNING, _("Field of view"), text + ". " + _("Kidneys may be cut off."))
    return Check(GOOD, _("Field of view"), text)


def intensityCheck(low, high, components, modality=None):
    """Whether voxels can be Hounsfield units."""
    title = _("Intensities")
    if components != 1:
        return Check(PROBLEM, title, _("A colour picture, not a CT."))
    if modality and modality != "CT":
        return Check(PROBLEM, title, _("The series is {modality}, not CT.").format(modality=modality))
    if low >= 0 or high < 100:
        return Check(PROBLEM, title, _("Values from {low:.0f} to {high:.0f} cannot be HU.").format(low=low, high=high))
    return Check(GOOD, title, _("HU from {low:.0f} to {high:.0f}").format(low=low, high=high))


def phaseCheck(phase, flagSentences):
    """The contrast phase as the engine estimated it.

    :param phase: the engine's ``phase`` object. :param flagSentences: sentences of its phase flags.
    """
    names = {
        "arterial": _("arterial (corticomedullary)"),
        "unenhanced": _("unenhanced"),
        "nephrographic": _("nephrographic"),
        "excretory": _("excretory"),
        "uncertain": _("not certain"),
    }
    name = names.get(phase["phase"], phase["phase"])
    if phase["phase"] == "arterial" and not flagSentences:
        return Check(GOOD, _("Contrast phase"), name)
    return Check(WARNING, _("Contrast phase"), name + ". " + " ".join(flagSentences))


def checksHtml(checks):
    """Rows with a mark, a colour and words, so that none of the three is needed alone."""
    rows = []
    for check in checks:
        mark, colour = _MARKS[check.level]
        rows.append(
            f'<tr><td style="color:{colour}"><b>{mark}</b>&nbsp;</td><td><b>{escape(check.title)}:</b> '
            f"{escape(check.text)}</td></tr>"
        )
    return "<table cellspacing='1'>" + "".join(rows) + "</table>" if rows else ""


def escape(text):
    import html

    return html.escape(str(text), quote=False)
