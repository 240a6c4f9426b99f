"""Segments of DICOM SEG and rows of `KidneySegLib.labels`, matched by their codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from KidneySegLib.labels import KIDNEY, LABELS, SIDE_CODES, Code, Label, Side, Structure, label_id

if TYPE_CHECKING:
    from pydicom import Dataset

#: Codes of other programs that mean the same: a kidney that is not divided, with its side in the code or beside it.
_OTHER_TYPES: dict[str, tuple[Structure, Side | None]] = {
    KIDNEY.value: (Structure.UNDIVIDED, None),
    "T-71000": (Structure.UNDIVIDED, None),
    "9846003": (Structure.UNDIVIDED, Side.RIGHT),
    "18639004": (Structure.UNDIVIDED, Side.LEFT),
    "108369006": (Structure.MASS, None),
}
_STRUCTURE_OF_TYPE: dict[str, tuple[Structure, Side | None]] = {
    **{label.type.value: (label.structure, None) for label in LABELS},
    **_OTHER_TYPES,
}
_SIDE_OF_CODE = {code.value: side for side, code in SIDE_CODES.items()} | {"G-A100": Side.RIGHT, "G-A101": Side.LEFT}
_LABEL_OF_NAME = {name.casefold(): label for label in LABELS for name in (label.key, label.name)}


def add_codes(segment: Dataset, label: Label) -> None:
    """Give a segment its side: on the anatomic region where it has one, else on the type itself (PS3.3 C.8.20.2)."""
    side = SIDE_CODES.get(label.side)
    if side is None:
        return
    if label.region is not None:
        segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [code_item(side)]
    else:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code_item(side)]


def code_item(code: Code) -> Dataset:
    """A code as DICOM writes it."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def label_of(segment: Dataset) -> Label | None:
    """The row of the table that a segment is: by our own key or name, else by its codes; None if it is none of them."""
    for keyword in ("TrackingID", "SegmentLabel"):
        named = _LABEL_OF_NAME.get(str(segment.get(keyword, "")).strip().casefold())
        if named is not None:
            return named
    types = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    if not types:
        return None
    found = _STRUCTURE_OF_TYPE.get(str(types[0].get("CodeValue", "")))
    if found is None:
        return None
    structure, side = found
    regions = segment.get("AnatomicRegionSequence") or ()
    modifiers = [
        *(types[0].get("SegmentedPropertyTypeModifierCodeSequence") or ()),
        *(item for region in regions for item in (region.get("AnatomicRegionModifierSequence") or ())),
    ]
    for modifier in modifiers:
        side = _SIDE_OF_CODE.get(str(modifier.get("CodeValue", "")), side)
    return LABELS[label_id(structure, side or Side.UNSIDED) - 1]
