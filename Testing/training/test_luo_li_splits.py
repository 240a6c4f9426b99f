"""The protocol of Luo and Li: groups from the patient table, held-out cases and folds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from KidneySegLib.errors import InputError
from KidneySegLib.training.luo_li.patients import read_strata
from KidneySegLib.training.luo_li.splits import hold_out, stratified_folds, thin_groups

# --- groups


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_groups_come_from_the_table(tmp_path: Path) -> None:
    path = table(tmp_path, "case_id,Group,split,patient_id\nb,mild,test,1\na,severe,train,1\nz,mild,train,3\n")
    strata = read_strata(path, ["a", "b"])
    assert strata.groups == {"a": "severe", "b": "mild"}
    assert strata.splits == {"a": "train", "b": "test"}
    assert strata.subjects == {"a": "1", "b": "1"}
    assert strata.source == "table"


def test_egfr_is_cut_at_90_60_and_30(tmp_path: Path) -> None:
    rows = {"a": "90", "b": "89.9", "c": "60", "d": "59.99", "e": "30", "f": "29.9"}
    strata = read_strata(table(tmp_path, "case_id,egfr\n" + "\n".join(f"{k},{v}" for k, v in rows.items())), rows)
    assert list(strata.groups.values()) == ["normal", "mild", "mild", "moderate", "moderate", "severe"]


def test_groups_follow_from_creatinine_in_either_unit(tmp_path: Path) -> None:
    path = table(tmp_path, "case_id;creatinine;creatinine_unit;age;sex\na;0,7;mg/dL;40;f\nb;530,4;umol/L;60;m\n")
    strata = read_strata(path, ["a", "b"])
    assert strata.groups == {"a": "normal", "b": "severe"}  # CKD-EPI 2009: 109 and 9 mL/min/1.73 m2
    assert strata.source == "eGFR"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scan,group\na,1\nb,2\n", "no column case_id"),
        ("case_id,sex\na,f\nb,m\n", "no group .*no creatinine and no eGFR"),
        ("case_id,creatinine,age,sex\na,1,50,f\nb,2,50,f\n", "no group .*unit of creatinine"),
        ("case_id,egfr,age\na,40,50\nb,95,12\n", "no group .*adults only"),
        ("case_id,group\na,1\n", "no row for 1 of the cases: b"),
        ("case_id,group\na,1\nb,\n", "no group .*for 1 of the cases: b"),
        ("case_id,group\na,1\nb,1\n", "one group"),
        ("case_id,group\na,1\na,2\nb,1\n", "has a twice"),
        ("case_id,egfr\na,30\nb,low\n", "no group .*number|no group .*eGFR must be"),
        ("case_id,egfr\na,30\nb,-3\n", "no group .*number|no group .*eGFR must be"),
        ("case_id,group,split\na,1,train\nb,2,maybe\n", "no train or test"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_strata(table(tmp_path, text), ["a", "b"])


def test_without_a_table_all_are_one_group() -> None:
    strata = read_strata(None, ["b", "a"])
    assert strata.groups == {"a": "all", "b": "all"}
    assert strata.source == "none"
    with pytest.raises(InputError, match="could not be read"):
        read_strata(Path("nowhere.csv"), ["a"])


# --- held-out cases and folds


def cohort(per_group: int) -> dict[str, str]:
    return {f"{group}{n:02}": group for group in ("mild", "moderate", "normal", "severe") for n in range(per_group)}


def test_the_papers_own_split() -> None:
    groups = cohort(16)
    train, test = hold_out(groups, 0.375, 2025)
    assert Counter(groups[case] for case in train) == dict.fromkeys(("mild", "moderate", "normal", "severe"), 10)
    assert Counter(groups[case] for case in test) == dict.fromkeys(("mild", "moderate", "normal", "severe"), 6)
    folds = stratified_folds({case: groups[case] for case in train}, 2025)
    for fold in folds:
        assert Counter(groups[c] for c in fold["val"]) == dict.fromkeys(("mild", "moderate", "normal", "severe"), 2)
        assert len(fold["train"]) == 32
    assert sorted(case for fold in folds for case in fold["val"]) == list(train)


def test_splits_are_the_same_for_ever() -> None:
    """Python promises the same sequence for a seed; other versions and computers must draw the same cases."""
    groups = cohort(5)
    assert hold_out(groups, 0.2, 1)[1] == hold_out(dict(reversed(groups.items())), 0.2, 1)[1]
    assert hold_out(groups, 0.2, 1)[1] != hold_out(groups, 0.2, 2)[1]
    assert stratified_folds(cohort(2), 7)[0]["val"] == stratified_folds(cohort(2), 7)[0]["val"]


#: A busy computer is no failure.
unhurried = hypothesis_settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.sampled_from("xyz"), min_size=5, max_size=40),
    st.integers(0, 99),
)
def test_folds_share_out_every_group_and_lose_nobody(groups: dict[str, str], seed: int) -> None:
    folds = stratified_folds(groups, seed)
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(groups)
    sizes = [len(fold["val"]) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for group in set(groups.values()):
        shares = [sum(groups[case] == group for case in fold["val"]) for fold in folds]
        assert max(shares) - min(shares) <= 1
    for fold in folds:
        assert set(fold["train"]) == set(groups) - set(fold["val"])


@unhurried
@given(st.lists(st.integers(0, 8), min_size=12, max_size=40), st.integers(0, 9))
def test_scans_of_a_patient_stay_together(patients: list[int], seed: int) -> None:
    subjects = {f"c{n}": f"s{patient}" for n, patient in enumerate(patients)}
    groups = {case: "xy"[int(subject[1]) % 2] for case, subject in subjects.items()}
    train, test = hold_out(groups, 0.3, seed, None, subjects)
    assert not {subjects[c] for c in train} & {subjects[c] for c in test}
    if len(set(subjects[c] for c in train)) < 5:
        with pytest.raises(InputError, match="at least 5 patients"):
            stratified_folds({c: groups[c] for c in train}, seed, subjects)
        return
    for fold in stratified_folds({c: groups[c] for c in train}, seed, subjects):
        assert not {subjects[c] for c in fold["train"]} & {subjects[c] for c in fold["val"]}


def test_what_is_settled_is_not_drawn() -> None:
    train, test = hold_out({"a": "x", "b": "y", "c": "y"}, 0.9, 1, {"a": "test", "b": "train", "c": "train"})
    assert (train, test) == (("b", "c"), ("a",))


def test_groups_with_fewer_cases_than_folds_are_told() -> None:
    assert thin_groups(cohort(5) | {"one": "rare"}) == ("rare",)
