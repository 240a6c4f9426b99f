"""Whole runs of a tiny recipe: learning, resuming, workers, records."""

from __future__ import annotations

import csv
import dataclasses
import json
import time

import pytest
import torch
from stub_phantom import Balls

from KidneySegLib.errors import Cancelled, InputError
from KidneySegLib.progress import CancelToken, Progress
from KidneySegLib.training.checkpoint import load_safely
from KidneySegLib.training.network_run import train_network
from KidneySegLib.training.seeds import TRAINING_SEEDS, VALIDATION_SEEDS


def _with(recipe, name, **changes):
    networks = {**recipe.networks, name: dataclasses.replace(recipe.networks[name], **changes)}
    return dataclasses.replace(recipe, networks=networks)


def _rows(folder):
    with open(folder / "log.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _train(recipe, output, name="fine", labels=False, **arguments):
    arguments = {"workers": 0, "source": Balls(labels=labels), **arguments}
    return train_network(name, recipe, output, device="cpu", **arguments)


def test_a_run_leaves_weights_log_record_and_only_safe_files(tiny, tmp_path):
    weights = load_safely(_train(tiny, tmp_path))
    assert all(value.dtype == torch.float16 for value in weights.values())
    assert not any(name.startswith("auxiliary_heads.") for name in weights)
    rows = _rows(tmp_path)
    assert rows[-1]["step"] == "6"
    assert 0 <= float(rows[-1]["dice_parenchyma"]) <= 1
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["steps"] == 6
    assert record["renderings"] == 4
    assert record["phantom_seeds"]["training_used"] == [TRAINING_SEEDS.first, TRAINING_SEEDS.first + 3]
    assert load_safely(tmp_path / "checkpoint.pt")["step"] == 6


def test_a_resumed_run_equals_an_uninterrupted_one(tiny, tmp_path):
    _train(tiny, tmp_path / "whole")

    class InterruptionError(Exception):
        pass

    from KidneySegLib.training import trainer as module

    class Interrupted(module.Trainer):
        def set_rate(self, used):
            if self.step == 3:
                self.save(tmp_path / "parts")
                raise InterruptionError
            return super().set_rate(used)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("KidneySegLib.training.network_run.Trainer", Interrupted)
        with pytest.raises(InterruptionError):
            _train(tiny, tmp_path / "parts")
    assert load_safely(tmp_path / "parts" / "checkpoint.pt")["step"] == 3
    _train(tiny, tmp_path / "parts", resume=True)
    whole, parts = (load_safely(tmp_path / run / "checkpoint.pt") for run in ("whole", "parts"))
    assert parts["step"] == whole["step"] == 6
    for key in ("weights", "average"):
        for name, value in whole[key].items():
            assert torch.equal(value, parts[key][name]), (key, name)
    assert torch.equal(whole["generator"], parts["generator"])


def test_an_output_folder_with_a_run_is_refused_without_resume(tiny, tmp_path):
    _train(tiny, tmp_path)
    with pytest.raises(InputError, match="holds a training run already"):
        _train(tiny, tmp_path)


def test_a_finished_run_is_left_alone_on_resume(tiny, tmp_path):
    _train(tiny, tmp_path)
    before = (tmp_path / "record.json").read_bytes(), (tmp_path / "checkpoint.pt").read_bytes()
    _train(tiny, tmp_path, resume=True)
    assert before == ((tmp_path / "record.json").read_bytes(), (tmp_path / "checkpoint.pt").read_bytes())


def test_a_checkpoint_of_another_network_is_refused(tiny, tmp_path):
    _train(tiny, tmp_path)
    with pytest.raises(InputError, match="expected a checkpoint of the network localiser"):
        _train(tiny, tmp_path, name="localiser", labels=True, resume=True)


def test_another_recipe_does_not_go_on_from_a_checkpoint(tiny, tmp_path):
    _train(tiny, tmp_path)
    with pytest.raises(InputError, match=r"learning_rate 0.\d+ and not 0.5"):
        _train(_with(tiny, "fine", learning_rate=0.5, steps=9), tmp_path, resume=True)
    _train(_with(tiny, "fine", steps=7), tmp_path, resume=True)
    assert load_safely(tmp_path / "checkpoint.pt")["step"] == 7


@pytest.mark.parametrize(("name", "labels"), [("fine", False), ("localiser", True)])
def test_learning_finds_the_ball(tiny, tmp_path, name, labels):
    calm = {
        "pose": {"warp_voxels": 0.0, "shift_voxels": [2.0, 2.0, 2.0]},
        "contrast": {"probability": 0.0},
        "scanner": {"thick_probability": 0.0, "noise_hu": [1.0, 5.0]},
    }
    recipe = _with(tiny, name, steps=60 if labels else 150, augment={**calm, "cut_probability": 0.0})
    _train(recipe, tmp_path, name=name, labels=labels)
    score = json.loads((tmp_path / "record.json").read_text())["validation"]
    assert score["kidney" if labels else "parenchyma"] > 0.8
    losses = [float(r["loss"]) for r in _rows(tmp_path) if r["loss"]]
    assert losses[-1] < 1.0


def test_cancelling_leaves_a_checkpoint_and_no_weights_that_look_finished(tiny, tmp_path):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        _train(tiny, tmp_path, progress=Progress(token=token))
    assert not (tmp_path / "weights.pt").exists()
    assert load_safely(tmp_path / "checkpoint.pt")["step"] == 1
    _train(tiny, tmp_path, resume=True)
    assert load_safely(tmp_path / "checkpoint.pt")["step"] == 6


def test_initial_weights_are_where_learning_begins(tiny, tmp_path):
    weights = _train(tiny, tmp_path / "first")
    recipe = _with(tiny, "fine", steps=1, learning_rate=1e-12, average_decay=0.0)
    second = load_safely(_train(recipe, tmp_path / "second", initial_weights=weights))
    for name, value in load_safely(weights).items():
        assert torch.equal(value, second[name]), name


def test_workers_render_validation_first_survive_failures_and_their_own_death(tiny, tmp_path):
    recipe = _with(tiny, "fine", pool_capacity=12, pool_start=10)
    source = Balls(fail_on=TRAINING_SEEDS.seed(2), die_on=TRAINING_SEEDS.seed(5))
    _train(recipe, tmp_path, workers=2, source=source)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["renderings"] >= 10
    assert record["renderings_failed"] == 1
    assert record["validation"]["parenchyma"] >= 0
    assert record["phantom_seeds"]["validation_used"] == 2


def test_no_training_seed_is_a_validation_seed(tiny, tmp_path):
    seen = []

    def spy(seed):
        seen.append(seed)
        return Balls()(seed)

    _train(tiny, tmp_path, source=spy)
    assert [s in VALIDATION_SEEDS for s in seen] == [True, True, False, False, False, False]
    assert all(s in TRAINING_SEEDS for s in seen[2:])


def test_time_ends_a_run(tiny, tmp_path):
    recipe = _with(tiny, "fine", steps=None, minutes=0.02)
    began = time.monotonic()
    _train(recipe, tmp_path)
    assert time.monotonic() - began < 60
    assert load_safely(tmp_path / "checkpoint.pt")["step"] >= 1


def test_the_recipe_ends_in_two_bundles_that_the_engine_reads(tiny, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    from KidneySegLib.models import verify_bundle
    from KidneySegLib.training import embedded

    monkeypatch.setattr(embedded, "load_config", lambda path: tiny)
    monkeypatch.setattr(
        "KidneySegLib.training.network_run.sample_source", lambda part: Balls(labels=part.activation == "softmax")
    )
    events = []
    progress = Progress(events.append)
    localiser, fine = embedded.train_embedded(None, tmp_path, "cpu", False, progress, workers=0)
    assert (localiser.name, fine.name) == ("tiny-localiser", "tiny-fine")
    assert localiser.is_localiser
    assert (fine.outputs, fine.spacing_mm, fine.patch_size) == (("parenchyma", "cortex"), (1.0, 1.0, 1.0), (16, 16, 16))
    assert fine.size_multiple == (4, 4, 4)
    assert fine.network_arguments["deep_supervision"] is False
    assert fine.training["steps"] == 6
    assert fine.training["phantom_seeds"]["training"][0] > fine.training["phantom_seeds"]["validation"][1]
    for bundle in (localiser, fine):
        verify_bundle(bundle)
    assert events[-1].stage == "train"


def test_the_thin_command_reports_the_users_errors(capsys, tmp_path):
    from KidneySegLib.training.embedded import main

    assert main(["--network", "fine"]) == 2
    assert "--output is needed" in capsys.readouterr().err
    assert main(["--network", "coarse", "--output", str(tmp_path), "--device", "cpu"]) == 2
    assert "network must be one of localiser, fine" in capsys.readouterr().err


def test_rendering_processes_need_not_import_torch():
    import subprocess
    import sys

    code = (
        "import sys, KidneySegLib.training.embedded, KidneySegLib.training.workers, "
        "KidneySegLib.training.phantom_samples; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
