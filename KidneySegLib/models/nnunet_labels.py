"""What the labels of a foreign nnU-Net model mean here.

nnU-Net's ``dataset.json`` names labels freely. The names that kidney models use are known; what is known and no part
of a kidney counts as background; for all others the user has to say (``--map THEIRS=ours``).

Names of other organs: TotalSegmentator's ``class_map`` (wasserth/TotalSegmentator, Apache-2.0). Names of KiTS:
neheller/kits23.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.nnunet_record import MAX_LABEL

#: What ``--map`` takes, and what it means: sides come from the spine here, not from a model's label.
MEANINGS: Mapping[str, str] = {
    "background": "background",
    "parenchyma": "parenchyma",
    "medulla": "medulla",
    "cortex": "cortex",
    "cyst": "cyst",
    "mass": "mass",
    "abnormality": "abnormality",
    "kidney": "parenchyma",
    "kidney_left": "parenchyma",
    "kidney_right": "parenchyma",
}

_SIDE = r"(left|right|l|r|lt|rt|both|bilateral)"
_KIDNEY = r"(kidneys?|renal|ren)"
#: First pattern that fits the whole name, in lower case with one "_" between words and without a side, decides.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (rf"({_KIDNEY}_)?(cortex|cortical)", "cortex"),
    (rf"({_KIDNEY}_)?medulla", "medulla"),
    (rf"({_KIDNEY}_)?cysts?", "cyst"),
    (rf"({_KIDNEY}_)?abnormalit(y|ies)", "abnormality"),
    (rf"({_KIDNEY}_)?(tumou?rs?|mass|masses|neoplasms?|lesions?|cancer|carcinoma)", "mass"),
    (rf"({_KIDNEY}_)?parenchyma", "parenchyma"),
    (r"(kidneys?|kidneys?_and_(mass|masses|tumou?rs?)|whole_kidneys?|renal)", "parenchyma"),
    (
        rf"({_KIDNEY}_)?(pelvis|sinus|collecting_system|pelvicalyceal_system|ureters?|stones?|calculi|fat|hilum)",
        "background",
    ),
    (rf"({_KIDNEY}_)?(artery|arteries|veins?|vessels?)", "background"),
)
#: First words of names of what is no kidney.
_ELSEWHERE = (
    " abdomen adrenal aorta atrial autochthon background bladder body bone bones bowel brachiocephalic "
    " brain clavicula clavicle colon common costal duodenum esophagus face femur gallbladder gluteus heart "
    " hip humerus iliac iliopsoas inferior intervertebral ivc liver lung lungs muscle oesophagus other "
    " pancreas portal postcava prostate pulmonary rib ribs sacrum scapula skin skull small spinal spine "
    " spleen sternum stomach subclavian superior thyroid trachea urinary uterus vena vertebra vertebrae "
)


@dataclass(frozen=True)
class LabelTable:
    """What the output channels of a model mean.

    Attributes:
        names: their name of each label id.
        structures: what an id means here (`nnunet_record.STRUCTURES`).
        channels: the id that each output channel writes.
        outputs: ``output.names`` of the bundle.
        activation: ``softmax`` for labels, ``sigmoid`` for regions.
    """

    names: Mapping[int, str]
    structures: Mapping[int, str]
    channels: tuple[int, ...]
    outputs: tuple[str, ...]
    activation: str


def meaning_of(name: str) -> str | None:
    """What a label of that name means here; None if that is not known."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()).strip("_")
    without_side = re.sub(rf"^{_SIDE}_|_{_SIDE}$", "", plain)
    for pattern, meaning in _PATTERNS:
        if re.fullmatch(pattern, without_side):
            return meaning
    return "background" if f" {without_side.split('_')[0]} " in _ELSEWHERE else None


def read_labels(dataset: Mapping[str, Any], label_map: Mapping[str, str], where: str) -> LabelTable:
    """The label table of a ``dataset.json``.

    Args:
        dataset: its content.
        label_map: what the user says: their name to one of `MEANINGS`; goes before what is known.
        where: named in messages.

    Raises:
        ModelError: if a label is not known, or the labels make no kidney model.
    """
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or labels.get("background") not in (0, "0"):
        raise ModelError(f"{where}: labels must be an object whose 'background' is 0, got {labels!r:.120}.")
    given = {
        str(name): _ids(value, name, where) for name, value in labels.items() if name not in ("background", "ignore")
    }
    if not given:
        raise ModelError(f"{where}: labels name nothing but the background.")
    meanings = _meanings(list(given), label_map, where)
    has_regions = any(isinstance(labels[name], list | tuple) and len(labels[name]) > 1 for name in given)
    if has_regions:
        return _regions(dataset, given, meanings, where)
    names = {0: "background"}
    structures = {0: "background"}
    for name, ids in given.items():
        names[ids[0]] = name
        structures[ids[0]] = meanings[name]
    if sorted(names) != list(range(len(given) + 1)):
        raise ModelError(f"{where}: labels must be 0, 1, 2 ... without gaps, got {sorted(names)}.")
    if "cortex" in structures.values():
        # Where a voxel has one label only, what is parenchyma and not cortex is medulla.
        structures = {id: "medulla" if s == "parenchyma" else s for id, s in structures.items()}
    channels = tuple(sorted(names))
    found = [structures[id] for id in channels]
    return LabelTable(names, structures, channels, tuple(dict.fromkeys(["background", *found])), "softmax")


def _regions(
    dataset: Mapping[str, Any], given: Mapping[str, tuple[int, ...]], meanings: Mapping[str, str], where: str
) -> LabelTable:
    """Regions overlap; each paints its id of ``regions_class_order`` over the ones before it."""
    order = dataset.get("regions_class_order")
    if not isinstance(order, list) or len(order) != len(given):
        raise ModelError(
            f"{where}: regions_class_order must have one label for each of {len(given)} regions, got {order!r:.80}."
        )
    names, structures = {0: "background"}, {0: "background"}
    channels = []
    for painted, (name, ids) in zip(order, given.items(), strict=True):
        id = _id(painted, name, where)
        channels.append(id)
        inner = [other for other, o in given.items() if set(o) < set(ids)]
        meaning = meanings[name]
        # KiTS: the region of all masses paints what is left of it beside the tumours, which are cysts.
        if (
            meaning == "mass"
            and id not in {i for other in inner for i in given[other]}
            and any(meanings[other] == "mass" for other in inner)
        ):
            meaning = "cyst"
        names[id] = name
        structures[id] = meaning
    found = tuple(dict.fromkeys(structures[id] for id in channels))
    # Where regions overlap, medulla is what of the parenchyma no other region paints.
    outputs = tuple(dict.fromkeys("parenchyma" if s == "medulla" else s for s in found if s != "background"))
    return LabelTable(names, structures, tuple(channels), outputs, "sigmoid")


def _meanings(names: list[str], label_map: Mapping[str, str], where: str) -> dict[str, str]:
    wrong = sorted(set(label_map) - set(names))
    if wrong:
        raise ModelError(f"{where} has no label called {', '.join(wrong)}; it has {', '.join(names)}. Mend --map.")
    meanings: dict[str, str] = {}
    unknown = []
    for name in names:
        if name in label_map:
            if label_map[name] not in MEANINGS:
                raise ModelError(f"--map {name}={label_map[name]}: a label must become one of {', '.join(MEANINGS)}.")
            meanings[name] = MEANINGS[label_map[name]]
            continue
        meaning = meaning_of(name)
        if meaning is None:
            unknown.append(name)
        else:
            meanings[name] = meaning
    if unknown:
        raise ModelError(
            f"{where} has labels that are not known here: {', '.join(unknown)}. Say what they are, each with "
            f"--map NAME=MEANING; meanings are {', '.join(MEANINGS)}."
        )
    if {"cyst", "mass"} & set(meanings.values()):
        # Beside a label of cysts or masses, what else is abnormal needs a look.
        meanings = {n: "mass" if m == "abnormality" and n not in label_map else m for n, m in meanings.items()}
    if set(meanings.values()) <= {"background"}:
        raise ModelError(
            f"{where} names no part of a kidney: {', '.join(names)}. If one of them is, say so with --map NAME=MEANING."
        )
    return meanings


def _ids(value: Any, name: str, where: str) -> tuple[int, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ModelError(f"{where}: the label {name!r} has no value.")
    return tuple(_id(v, name, where) for v in values)


def _id(value: Any, name: str, where: str) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_LABEL:
        raise ModelError(f"{where}: the label {name!r} must be a whole number of 1 to {MAX_LABEL}, got {value!r:.40}.")
    return value
