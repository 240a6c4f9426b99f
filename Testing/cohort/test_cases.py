"""Which cases a cohort holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.cohort.case_names import MAX_LENGTH, name_of_folder, problem_of_name
from KidneySegLib.cohort.cases import CohortCase, find_cases
from KidneySegLib.errors import InputError
from KidneySegLib.measurement.clinical import Patient

NOWHERE = Path("/nowhere")


def listed(tmp_path: Path, text: str) -> tuple[CohortCase, ...]:
    path = tmp_path / "cohort.csv"
    path.write_bytes(text.encode())
    return find_cases(path, NOWHERE)


def test_a_folder_gives_its_folders_images_and_zips(tmp_path: Path) -> None:
    for name in ("b/ct.nii.gz", "b/labels.nii.gz", "a/IM001.dcm", "c.nii.gz", "d.zip", "notes.txt", ".hidden/x.dcm"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "out").mkdir()
    cases = find_cases(tmp_path, tmp_path / "out")
    assert [(case.case_id, case.source.relative_to(tmp_path).as_posix()) for case in cases] == [
        ("a", "a"),
        ("b", "b/ct.nii.gz"),
        ("c", "c.nii.gz"),
        ("d", "d.zip"),
    ]


@pytest.mark.parametrize("files", [(), ("IM001.dcm", "IM002.dcm")])
def test_a_folder_without_cases_says_so(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="holds no cases"):
        find_cases(tmp_path, NOWHERE)


def test_what_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_cases(tmp_path / "cohort", NOWHERE)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "Anna.nii.gz").touch()
    with pytest.raises(InputError, match="two cases named"):
        find_cases(tmp_path, NOWHERE)


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes are Linux's")
def test_a_folder_name_that_is_not_text_becomes_a_case_id(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/M\xfcller")
    (case,) = find_cases(tmp_path, NOWHERE)
    assert problem_of_name(case.case_id) == ""
    assert case.case_id.startswith("case_M")
    assert case.source.is_dir()


def test_a_list_with_all_columns(tmp_path: Path) -> None:
    cases = listed(
        tmp_path,
        "\ufeffcase_id,path,series,sex,age,height_cm,weight_kg,creatinine,creatinine_unit\r\n"
        "one,scans/one.nii.gz,,F,61,165,70.5,88,umol/L\r\n"
        '"two, too",/abs/two,1.2.3,,,,,,\r\n'
        ",,,,,,,,\r\n",
    )
    assert cases == (
        CohortCase("one", tmp_path / "scans/one.nii.gz", None, Patient("f", 61.0, 165.0, 70.5, 88.0, "umol/L")),
        CohortCase("two, too", Path("/abs/two"), "1.2.3", Patient()),
    )


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    (case,) = listed(tmp_path, delimiter.join(("path", "case_id", "age")) + "\n" + delimiter.join(("x", "one", "40")))
    assert (case.case_id, case.patient.age_years) == ("one", 40.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id\none\n", "no column path"),
        ("case_id,path,PatientName\none,x,Doe\n", "unknown or stand twice .PatientName"),
        ("case_id,path,path\none,x,y\n", "unknown or stand twice"),
        ("case_id,path\n", "lists no cases"),
        ("", "no column case_id"),
        ("case_id,path\none,\n", "line 2: the case one has no path"),
        ("case_id,path\n../evil,x\n", "line 2: the case_id '../evil' cannot name a folder"),
        ("case_id,path\nNUL,x\n", "Windows reserves"),
        ("case_id,path\none,x,y\n", "line 2 has more cells"),
        ("case_id,path,age\none,x,old\n", "age must be a number from 0 to 120"),
        ("case_id,path,age\none,x,nan\n", "age must be a number"),
        ("case_id,path,sex\none,x,w\n", "sex must be f, m"),
        ("case_id,path,creatinine\none,x,1.1\n", "creatinine_unit must be"),
        ("case_id,path\none,x\nONE,y\n", "two cases named"),
        ('case_id,path\none,"x\n', "not a CSV file"),
        ("case_id,path\none,\0\n", "zero bytes"),
    ],
)
def test_a_list_that_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        listed(tmp_path, text)


def test_a_list_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_bytes("case_id,path\nMüller,x\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        find_cases(path, NOWHERE)


@given(st.text(max_size=300).filter(lambda name: name not in ("", ".", "..")))
def test_every_folder_name_gives_a_case_id(name: str) -> None:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return  # no folder can have this name
    case_id = name_of_folder(name)
    assert problem_of_name(case_id) == ""
    assert len(case_id) <= MAX_LENGTH


@given(st.lists(st.lists(st.text(max_size=20), max_size=12), max_size=6))
def test_any_table_is_a_list_or_an_error(tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]) -> None:
    text = "case_id,path,age\n" + "\n".join(",".join(line) for line in lines)
    path = tmp_path_factory.mktemp("lists") / "cohort.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        cases = find_cases(path, NOWHERE)
    except InputError:
        return
    assert all(problem_of_name(case.case_id) == "" for case in cases)
