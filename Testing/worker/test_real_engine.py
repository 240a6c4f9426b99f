"""The child process with the real pipeline and a network whose answers are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from conversation import REAL, Conversation

pytest.importorskip("torch", reason="bundles are made with torch; using them needs none")

MODEL = "analytic"


def load_analytic_bundles():
    """The hand-made networks of the engine's own tests."""
    path = Path(__file__).resolve().parents[1] / "inference" / "analytic_bundles.py"
    module_spec = importlib.util.spec_from_file_location("analytic_bundles", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def two_kidneys():
    """HU (z, y, x) of a body with two ellipsoid kidneys on a 2 x 2 x 3 mm grid, and truth: 1 medulla, 2 cortex."""
    z, y, x = np.indices((40, 80, 120), dtype=np.float32)
    hu = np.full(z.shape, -1000, np.int16)
    hu[((x - 59.5) / 56) ** 2 + ((y - 39.5) / 37) ** 2 < 1] = 40
    truth = np.zeros(z.shape, np.uint8)
    for centre in (32, 87):
        radius = np.sqrt(((x - centre) / 13) ** 2 + ((y - 50) / 12) ** 2 + ((z - 20) / 15) ** 2)
        truth[radius < 1] = 2
        truth[radius < 0.7] = 1
    hu[truth == 2], hu[truth == 1] = 250, 150
    return hu, truth


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    bundles = load_analytic_bundles()
    (folder / "models").mkdir()
    bundles.write_localiser(folder / "models" / "analytic-localiser")
    bundles.write_fine(folder / "models" / MODEL, localiser="analytic-localiser", spacing_mm=(3.0, 2.0, 2.0))
    return folder


@pytest.fixture
def conversation(home):
    started = Conversation(REAL, environment={"KIDNEYSEG_HOME": str(home)})
    yield started
    started.close()


def test_models_and_devices_are_listed(conversation):
    names = [model["name"] for model in conversation.ask("models")["models"]]
    assert MODEL in names
    assert "analytic-localiser" not in names
    assert "kidneyseg-arterial" in names
    devices = conversation.ask("devices")["devices"]
    assert devices[0]["kind"] == "cpu"
    assert devices[0]["memory_bytes"] > 0


def test_a_case_is_checked_segmented_corrected_and_measured(conversation, tmp_path):
    hu, truth = two_kidneys()
    volume = conversation.volume(hu, spacing=(2.0, 2.0, 3.0), origin=(-119.0, -79.0, 0.0))
    checks = conversation.ask("check", volume=volume, model=MODEL)
    assert checks["event"] == "result", checks
    assert checks["phase"]["phase"] in ("arterial", "nephrographic", "unenhanced", "excretory", "uncertain")

    patient = {"sex": "f", "age_years": 55.0, "height_cm": 170.0, "weight_kg": 70.0, "creatinine": 0.9}
    reply = conversation.ask("segment", volume=volume, model=MODEL, case_id="case-7", patient=patient)
    assert reply["event"] == "result", reply
    labels = np.load(conversation.workspace / reply["labels"]["array"])
    x, y, z = reply["labels"]["index"]
    whole = np.zeros(hu.shape, np.uint8)
    whole[z : z + labels.shape[0], y : y + labels.shape[1], x : x + labels.shape[2]] = labels
    # LPS x grows to the patient's left: low columns are the right kidney.
    assert set(np.unique(whole[:, :, :60])) == {0, 1, 2}
    assert set(np.unique(whole[:, :, 60:])) == {0, 3, 4}
    found = np.isin(whole, (1, 2, 3, 4))
    dice = 2 * (found & (truth > 0)).sum() / (found.sum() + (truth > 0).sum())
    assert dice > 0.95

    table = {row[1]: dict(zip(reply["table"]["columns"], row, strict=True)) for row in reply["table"]["rows"]}
    voxel_ml = 2 * 2 * 3 / 1000
    assert float(table["right"]["cortex_ml"]) == pytest.approx((whole == 1).sum() * voxel_ml, abs=0.01)
    assert float(table["both"]["parenchyma_ml"]) == pytest.approx(found.sum() * voxel_ml, abs=0.01)
    assert table["both"]["case_id"] == "case-7"
    # CKD-EPI 2021, test vector (0.9 mg/dL, 55 years, female): 75.5.
    egfr = next(value for column, value in table["both"].items() if "egfr" in column and value)
    assert float(egfr) == pytest.approx(75.5, abs=0.6)
    csv_bytes = (Path(reply["folder"]) / "volumes.csv").read_bytes()
    assert csv_bytes.decode("utf-8").splitlines()[0] == ",".join(reply["table"]["columns"])
    assert "case-7" in (Path(reply["folder"]) / "report.html").read_text(encoding="utf-8")

    moved = (labels == 1) & (np.indices(labels.shape)[0] < labels.shape[0] // 2)
    corrected = np.where(moved, 2, labels).astype(np.uint8)
    np.save(conversation.workspace / "edited.npy", corrected)
    edited = {**reply["labels"], "array": "edited.npy"}
    measured = conversation.ask("measure", volume=volume, labels=edited, case_id="case-7")
    assert measured["event"] == "result", measured
    after = {row[1]: dict(zip(measured["table"]["columns"], row, strict=True)) for row in measured["table"]["rows"]}
    assert float(after["right"]["medulla_ml"]) == pytest.approx((corrected == 2).sum() * voxel_ml, abs=0.01)
    assert after["left"]["cortex_ml"] == table["left"]["cortex_ml"]
    assert after["right"]["source"] == "corrected"

    # Measured again as it was: still the model's own work.
    again = conversation.ask(
        "measure",
        volume=volume,
        labels=reply["labels"],
        case_id="case-7",
        source="automatic",
        model=table["both"]["model"],
    )
    unedited = dict(zip(again["table"]["columns"], again["table"]["rows"][0], strict=True))
    assert (unedited["source"], unedited["model"]) == ("automatic", table["both"]["model"])
    assert unedited["model"]


def test_an_engine_stays_warm_between_cases(conversation):
    hu, _truth = two_kidneys()
    volume = conversation.volume(hu, spacing=(2.0, 2.0, 3.0), origin=(-119.0, -79.0, 0.0))
    first = conversation.ask("segment", volume=volume, model=MODEL, case_id="a")
    second = conversation.ask("segment", volume=volume, model=MODEL, case_id="a")
    assert first["table"] == second["table"]
    assert not Path(first["folder"]).exists(), "results of the case before take room on the disk"


def test_a_model_that_is_missing_is_said(conversation):
    hu, _truth = two_kidneys()
    reply = conversation.ask("segment", volume=conversation.volume(hu), model="no-such-model")
    assert (reply["event"], reply["kind"]) == ("error", "ModelError")
    assert "no-such-model" in reply["message"]


def test_no_kidney_is_a_flag(conversation):
    hu, truth = two_kidneys()
    hu[truth > 0] = 40
    reply = conversation.ask("segment", volume=conversation.volume(hu), model=MODEL, case_id="none")
    assert reply["event"] == "result", reply
    assert "no_kidney" in reply["flags"]
    assert not np.load(conversation.workspace / reply["labels"]["array"]).any()
