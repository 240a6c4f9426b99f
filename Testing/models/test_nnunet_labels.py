"""What foreign labels mean: known names, maps of the user, regions, and what is refused."""

from __future__ import annotations

import pytest

from KidneySegLib.errors import ModelError
from KidneySegLib.models.nnunet_labels import meaning_of, read_labels

TOTALSEGMENTATOR_ORGANS = [
    "spleen",
    "kidney_right",
    "kidney_left",
    "gallbladder",
    "liver",
    "stomach",
    "pancreas",
    "adrenal_gland_right",
    "adrenal_gland_left",
    "lung_upper_lobe_left",
    "esophagus",
    "trachea",
    "thyroid_gland",
    "small_bowel",
    "duodenum",
    "colon",
    "urinary_bladder",
    "prostate",
    "kidney_cyst_left",
    "kidney_cyst_right",
]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("kidney", "parenchyma"),
        ("Left Kidney", "parenchyma"),
        ("kidney_right", "parenchyma"),
        ("LeftKidney", "parenchyma"),
        ("renal-cortex", "cortex"),
        ("cortex_left", "cortex"),
        ("Medulla", "medulla"),
        ("kidney_cyst_left", "cyst"),
        ("tumour", "mass"),
        ("Tumor", "mass"),
        ("abnormality", "abnormality"),
        ("renal_mass", "mass"),
        ("renal pelvis", "background"),
        ("renal_artery", "background"),
        ("vertebrae_L3", "background"),
        ("inferior_vena_cava", "background"),
        ("nephro", None),
        ("class_1", None),
    ],
)
def test_meanings_of_names(name, meaning):
    assert meaning_of(name) == meaning


def test_labels_of_a_divided_kidney():
    table = read_labels({"labels": {"background": 0, "parenchyma": 1, "cortex": 2, "cyst": 3}}, {}, "it")
    assert table.activation == "softmax"
    assert table.channels == (0, 1, 2, 3)
    assert table.structures == {0: "background", 1: "medulla", 2: "cortex", 3: "cyst"}
    assert table.outputs == ("background", "medulla", "cortex", "cyst")


def test_totalsegmentator_gives_undivided_parenchyma_and_cysts():
    labels = {"background": 0, **{name: i + 1 for i, name in enumerate(TOTALSEGMENTATOR_ORGANS)}}
    table = read_labels({"labels": labels}, {}, "it")
    assert table.outputs == ("background", "parenchyma", "cyst")
    assert [i for i, s in table.structures.items() if s == "parenchyma"] == [2, 3]
    assert [i for i, s in table.structures.items() if s == "cyst"] == [19, 20]
    assert table.names[5] == "liver"
    assert len(table.channels) == 21


def test_regions_of_kits23_paint_kidney_cyst_and_tumour():
    content = {
        "labels": {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2},
        "regions_class_order": [1, 3, 2],
    }
    table = read_labels(content, {}, "it")
    assert table.activation == "sigmoid"
    assert table.channels == (1, 3, 2)
    assert table.structures == {0: "background", 1: "parenchyma", 3: "cyst", 2: "mass"}
    assert table.outputs == ("parenchyma", "cyst", "mass")


def test_regions_of_parenchyma_and_cortex_nest():
    content = {
        "labels": {"background": 0, "parenchyma": [1, 2], "cortex": [2]},
        "regions_class_order": [1, 2],
    }
    table = read_labels(content, {}, "it")
    assert table.structures == {0: "background", 1: "parenchyma", 2: "cortex"}
    assert table.outputs == ("parenchyma", "cortex")


@pytest.mark.parametrize("labels", [{"parenchyma": [1, 2]}, {"cortex": [1, 1]}])
def test_a_single_region_is_one_channel(labels):
    table = read_labels({"labels": {"background": 0, **labels}, "regions_class_order": [1]}, {}, "it")
    assert table.channels == (1,)
    assert table.activation == "sigmoid"


def test_the_ignore_label_has_no_channel():
    table = read_labels({"labels": {"background": 0, "kidney": 1, "ignore": 2}}, {}, "it")
    assert table.channels == (0, 1)


def test_the_user_names_what_is_unknown_and_overrides_what_is_known():
    content = {"labels": {"background": 0, "nephro": 1, "cyst": 2}}
    table = read_labels(content, {"nephro": "kidney_left", "cyst": "mass"}, "it")
    assert table.structures == {0: "background", 1: "parenchyma", 2: "mass"}


@pytest.mark.parametrize(
    ("content", "label_map", "message"),
    [
        (
            {"labels": {"background": 0, "nephro": 1, "thing": 2}},
            {},
            "not known here: nephro, thing.*--map NAME=MEANING",
        ),
        ({"labels": {"background": 0, "kidney": 1}}, {"kidny": "mass"}, "no label called kidny; it has kidney"),
        ({"labels": {"background": 0, "kidney": 1}}, {"kidney": "organ"}, "must become one of"),
        ({"labels": {"background": 0, "liver": 1}}, {}, "no part of a kidney"),
        ({"labels": {"background": 1, "kidney": 0}}, {}, "'background' is 0"),
        ({"labels": {"background": 0}}, {}, "nothing but the background"),
        ({"labels": {"background": 0, "kidney": 2}}, {}, "without gaps"),
        ({"labels": {"background": 0, "kidney": 1.5}}, {}, "whole number"),
        ({"labels": {"background": 0, "kidney": 300}}, {}, "1 to 255"),
        ({"labels": {"background": 0, "kidney": [1, 2]}}, {}, "regions_class_order"),
        ({"labels": ["kidney"]}, {}, "must be an object"),
        ({}, {}, "must be an object"),
    ],
)
def test_labels_that_make_no_model_are_refused(content, label_map, message):
    with pytest.raises(ModelError, match=message):
        read_labels(content, label_map, "it")
