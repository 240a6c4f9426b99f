"""Terminology entries of segments: the project's own context, one entry a label."""

import json
from pathlib import Path

import slicer

from KidneySegLib.labels import LABELS, SIDE_CODES
from KidneySegLib.resources import resources_dir

CONTEXT_NAME = "KidneySeg kidney structures"
REGION_CONTEXT_NAME = "KidneySeg kidney regions"


def terminologyEntry(label):
    """The entry of a label as Slicer stores it in a segment's tag (its logic serialises in this order)."""
    side = SIDE_CODES.get(label.side)
    parts = [
        CONTEXT_NAME,
        _triple(label.category),
        _triple(label.type),
        _triple(side),
        REGION_CONTEXT_NAME if label.region else "",
        _triple(label.region),
        _triple(None),
    ]
    return "~".join(parts)


def loadTerminology():
    """Make the entries known to Slicer's terminology selector. Safe to call again."""
    logic = slicer.modules.terminologies.logic()
    for name, load, loaded in (
        ("KidneySeg.term.json", logic.LoadTerminologyFromFile, logic.IsTerminologyContextLoaded),
        ("KidneySeg.region.json", logic.LoadRegionContextFromFile, None),
    ):
        if loaded and loaded(CONTEXT_NAME):
            continue
        load(str(resources_dir() / "Terminology" / name))


def terminologyDocument():
    """Content of ``Resources/Terminology/KidneySeg.term.json``, made from the table of labels."""
    categories = {}
    for label in LABELS:
        category = categories.setdefault(
            label.category.value, {**_coded(label.category), "showAnatomy": True, "Type": {}}
        )
        type_ = category["Type"].setdefault(
            label.type.value,
            {
                **_coded(label.type),
                "recommendedDisplayRGBValue": list(label.colour),
                "3dSlicerLabel": f"kidneyseg_{label.structure.value}",
                "Modifier": [],
            },
        )
        side = SIDE_CODES.get(label.side)
        if side is None:
            type_["recommendedDisplayRGBValue"] = list(label.colour)
        else:
            type_["Modifier"].append({**_coded(side), "recommendedDisplayRGBValue": list(label.colour)})
    return {
        "SegmentationCategoryTypeContextName": CONTEXT_NAME,
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#",
        "SegmentationCodes": {
            "Category": [{**category, "Type": list(category["Type"].values())} for category in categories.values()]
        },
    }


def regionDocument():
    """Content of ``Resources/Terminology/KidneySeg.region.json``."""
    regions = {label.region.value: _coded(label.region) for label in LABELS if label.region}
    return {
        "AnatomicContextName": REGION_CONTEXT_NAME,
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/anatomic-context-schema.json#",
        "AnatomicCodes": {"AnatomicRegion": list(regions.values())},
    }


def writeTerminology(folder):
    """Write both documents (a developer's step after a change of the table of labels)."""
    for name, document in (("KidneySeg.term.json", terminologyDocument()), ("KidneySeg.region.json", regionDocument())):
        (Path(folder) / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _coded(code):
    return {"CodeMeaning": code.meaning, "CodingSchemeDesignator": code.scheme, "CodeValue": code.value}


def _triple(code):
    return f"{code.scheme}^{code.value}^{code.meaning}" if code else "^^"
