"""Several readers to one: literal answers, ties, nesting, STAPLE, files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from KidneySegLib.cli.main import main
from KidneySegLib.errors import InputError
from KidneySegLib.evaluation import evaluate_cohort
from KidneySegLib.evaluation.consensus import combine, consensus, disagreement
from KidneySegLib.evaluation.consensus_cohort import consensus_cohort
from KidneySegLib.evaluation.voting import vote
from Testing.evaluation.test_case import UNDIVIDED
from Testing.evaluation.toy import SHAPE, Array, image, kidneys, write


def line(*values: int) -> Array:
    return np.array([[values]], np.uint8)


def test_votes_of_four_readers() -> None:
    readers = [line(1, 1, 1, 1, 0), line(1, 1, 1, 0, 0), line(1, 1, 0, 0, 0), line(1, 0, 0, 0, 0)]
    assert vote(readers, "intersection").mask.tolist() == [[[True, False, False, False, False]]]
    assert vote(readers, "majority").mask.tolist() == [[[True, True, False, False, False]]]
    assert vote(readers, "majority", ties="include").mask.tolist() == [[[True, True, True, False, False]]]
    assert vote(readers, "majority").tied.tolist() == [[[False, False, True, False, False]]]


def test_parenchyma_that_all_mark_stays_whole_where_they_differ_about_cortex() -> None:
    # Ids: 1 right cortex, 2 right medulla, 5 right cyst.
    readers = [line(1, 1, 2, 2, 5, 0), line(1, 2, 1, 2, 5, 1), line(1, 1, 2, 2, 0, 0)]
    assert combine(readers, "intersection").labels.tolist() == [[[1, 2, 2, 2, 0, 0]]]
    assert combine(readers, "majority").labels.tolist() == [[[1, 1, 2, 2, 5, 0]]]
    assert disagreement(readers).tolist() == [[[0, 1, 1, 0, 1, 1]]]


def test_readers_who_do_not_divide_have_no_say_in_cortex() -> None:
    whole = line(13, 13, 13, 0)
    found = combine([line(1, 1, 2, 0), line(1, 2, 2, 0), whole], "intersection")
    assert found.labels.tolist() == [[[1, 2, 2, 0]]]
    assert "do not divide" in found.notes[0]
    alone = combine([line(1, 1, 2, 0), whole, whole], "majority")
    assert alone.labels.tolist() == [[[13, 13, 13, 0]]]
    assert "Only one reader divides" in alone.notes[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(arrays(np.uint8, (2, 3, 4), elements=st.sampled_from([0, 1, 2, 3, 4, 5, 8])), min_size=2, max_size=5))
def test_intersection_lies_in_majority_and_order_does_not_matter(readers: list[Array]) -> None:
    every = combine(readers, "intersection").labels
    most = combine(readers, "majority").labels
    for ids in ([1, 2], [1], [3, 4], [3], [5], [8]):
        all_mark = np.logical_and.reduce([np.isin(reader, ids) for reader in readers])
        count = np.sum([np.isin(reader, ids) for reader in readers], axis=0)
        if ids in ([1], [3]):  # cortex is voted on by those who divide, and cut to the parenchyma
            assert (np.isin(every, ids) <= np.isin(most, ids)).all()
            continue
        np.testing.assert_array_equal(np.isin(every, ids), all_mark)
        np.testing.assert_array_equal(np.isin(most, ids), count * 2 > len(readers))
    for method in ("intersection", "majority"):
        np.testing.assert_array_equal(combine(readers, method).labels, combine(readers[::-1], method).labels)


@pytest.mark.parametrize("method", ["intersection", "majority", "staple"])
def test_readers_who_agree_keep_their_labels(method: str) -> None:
    found = consensus([image(kidneys())] * 3, method)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), kidneys())
    assert not sitk.GetArrayFromImage(found.disagreement).any()
    assert found.labels.GetOrigin() == (-10.0, 20.0, 30.0)


def test_staple_trusts_the_better_readers_and_says_so() -> None:
    rng = np.random.default_rng(5)
    truth = np.zeros((20, 24, 24), np.uint8)
    truth[4:16, 4:20, 4:20] = 13
    wrong_share = (0.02, 0.02, 0.02, 0.30)
    readers = [np.where(rng.random(truth.shape) < share, 13 - truth, truth).astype(np.uint8) for share in wrong_share]
    found = combine(readers, "staple")

    def dice(labels: Array) -> float:
        return float(2 * ((labels > 0) & (truth > 0)).sum() / ((labels > 0).sum() + (truth > 0).sum()))

    assert dice(found.labels) > 0.995
    assert dice(found.labels) > dice(combine(readers, "intersection").labels)
    sensitivity = [pair[0] for pair in found.performance["right_parenchyma"]]
    assert sensitivity[:3] == pytest.approx([0.98] * 3, abs=0.01)
    assert sensitivity[3] == pytest.approx(0.70, abs=0.03)


def test_wrong_options_and_grids() -> None:
    with pytest.raises(InputError, match="at least two readers"):
        consensus([image(kidneys())])
    with pytest.raises(InputError, match="intersection, majority, staple"):
        consensus([image(np.zeros(SHAPE))] * 2, "mean")
    with pytest.raises(InputError, match=r"grid of Bo differs from that of Ann: voxels of 1 x 1 x 3 mm"):
        consensus([image(kidneys()), image(kidneys(), (1.0, 1.0, 3.0))], names=["Ann", "Bo"])
    empty = consensus([image(np.zeros(SHAPE))] * 2)
    assert not sitk.GetArrayFromImage(empty.labels).any()


@pytest.fixture
def readers(tmp_path: Path) -> list[Path]:
    """Three readers' folders with two cases; the third reader's second case lies on another grid."""
    for number in range(3):
        folder = tmp_path / f"reader{number + 1}"
        write(folder / "a.nii.gz", kidneys(shift=number % 2))
        write(folder / "b.nii.gz", kidneys(), (1.0, 1.0, 5.0 if number < 2 else 4.0))
    write(tmp_path / "reader1" / "alone.nii.gz", kidneys())
    return [tmp_path / f"reader{number}" for number in (1, 2, 3)]


def test_files(readers: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = consensus_cohort(readers, out, method="majority")
    assert done.done == ["a"]
    assert "grid of reader3 differs" in done.failed["b"]
    assert any("reader2 lacks alone" in note for note in done.notes)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(out / "a" / "labels.nii.gz"))), kidneys())
    differing = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "a" / "disagreement.nii.gz")))
    np.testing.assert_array_equal(differing, (kidneys() != kidneys(shift=1)).astype(np.uint8))
    with (out / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = {
            (row["reader_1"], row["reader_2"]): float(row["dice"])
            for row in csv.DictReader(file)
            if row["structure"] == "parenchyma"
        }
    assert pairs == pytest.approx(
        {("reader1", "reader2"): 5 / 6, ("reader1", "reader3"): 1, ("reader2", "reader3"): 5 / 6}, abs=1e-5
    )
    facts = json.loads((out / "consensus.json").read_text(encoding="utf-8"))
    assert facts["disagreeing_ml"]["a"] == pytest.approx((kidneys() != kidneys(shift=1)).sum() * 0.005)
    assert "more than half" in facts["rule"]
    # The consensus is a reference as it is.
    scored = evaluate_cohort(readers[0], out, tmp_path / "scored", surfaces=False, jobs=1)
    assert scored.cohort.summary("cortex", "dice").mean == 1


def test_the_readers_own_ids_are_kept(tmp_path: Path) -> None:
    training = np.array([0, 2, 1, 2, 1], np.uint8)[kidneys()]
    for name in "ab":
        write(tmp_path / name / "x.nii.gz", training)
    consensus_cohort([tmp_path / "a", tmp_path / "b"], tmp_path / "out", labels="training", method="staple")
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "x" / "labels.nii.gz")))
    np.testing.assert_array_equal(found, training)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        write(tmp_path / f"{name}.nii.gz", labels)
        for name, labels in (("ann", kidneys()), ("bo", UNDIVIDED[kidneys()]))
    ]
    assert main(["consensus", *map(str, files), "-o", str(tmp_path / "out"), "-q"]) == 0
    text = capsys.readouterr().out
    assert "every reader" in text
    assert "Only one reader divides" in text
    assert (tmp_path / "out" / "consensus" / "labels.nii.gz").is_file()
    assert main(["consensus", str(files[0]), "-o", str(tmp_path / "out2"), "-q"]) == 2
