"""The benchmark's arithmetic and the form of its record. Nothing here measures time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Testing.benchmarks import plans, record
from Testing.benchmarks.run import tile_count
from Testing.benchmarks.sides import extrapolated


def test_a_ratio_is_theirs_over_ours_with_the_spread_of_pairs() -> None:
    found = record.ratio([10.0, 12.0, 8.0], [2.0, 3.0, 1.0])
    assert found == {"ratio": 5.0, "least": 4.0, "greatest": 8.0, "pairs": 3}


@pytest.mark.parametrize(("theirs", "ours"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_no_ratio_without_measurements(theirs: list[float], ours: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        record.ratio(theirs, ours)


def test_a_summary_has_median_and_spread() -> None:
    assert record.summary([3.0, 1.0, 10.0]) == {"median": 3.0, "least": 1.0, "greatest": 10.0, "values": [3, 1, 10]}
    with pytest.raises(ValueError, match="at least one"):
        record.summary([])


def measured() -> dict:
    side = {"cpu_seconds": 1.0, "seconds": {"read": 0.5, "network": 2.0}}
    return {
        "scan": "512 x 512 x 100",
        "tiles": {"nnunet_float32": [6.0, 6.0], "ours_float32": [3.0, 3.0], "ours_bfloat16": [1.5, 1.2]},
        "outside": {"nnunet": [20.0], "ours": [2.0]},
        "whole": {
            "nnunet": {**side, "wall_seconds": 600.0, "peak_bytes": 3000},
            "ours": {**side, "wall_seconds": 6.0, "peak_bytes": 1000, "warm_seconds": 3.0},
        },
    }


def test_all_ratios_are_there_and_right() -> None:
    ratios = record.ratios_of(measured())
    assert set(ratios) == set(record.RATIOS) == set(record.TARGETS_AMX)
    assert {name: r["ratio"] for name, r in ratios.items()} == pytest.approx(
        {
            "network_bfloat16": 6 / 1.35,
            "network_float32": 2.0,
            "outside_network": 10.0,
            "whole_job": 100.0,
            "peak_memory": 3.0,
        }
    )


def test_a_processor_without_bfloat16_has_no_such_ratio() -> None:
    scan = measured()
    del scan["tiles"]["ours_bfloat16"]
    assert "network_bfloat16" not in record.ratios_of(scan)


def test_tiles_that_were_left_out_are_added_and_told() -> None:
    side = {"wall_seconds": 20.0, "seconds": {"read": 1.0, "network": 8.0}, "tiles_left_out": 12, "seconds_a_tile": 2.0}
    found = extrapolated(side)
    assert found["seconds"] == {"read": 1.0, "network": 32.0}
    assert found["wall_seconds"] == 44.0
    assert found["extrapolated"] is True
    whole = {"wall_seconds": 20.0, "seconds": {"network": 8.0}}
    assert extrapolated(whole) == whole


@pytest.mark.parametrize("planned", [plans.QUICK, plans.THICK], ids=lambda p: p.name)
def test_a_widened_network_answers_as_the_narrow_one(planned: plans.Planned) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("nnunetv2")
    from Testing.benchmarks.weights import FOREGROUND, nnunet_network, widened

    made = []
    for features in (planned.trained_features, planned.features):
        plan = plans.plans_json(replace(planned, features=features), FOREGROUND)
        made.append(nnunet_network(plan, deep_supervision=False).eval())
    narrow, wide = made
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        image = torch.randn((1, 1, 16, 64, 96), generator=torch.Generator().manual_seed(2))
        expected = narrow(image)
        assert not torch.allclose(wide(image), expected, atol=1e-2)
        wide.load_state_dict(widened(narrow.state_dict(), wide.state_dict()))
        torch.testing.assert_close(wide(image), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("planned", [plans.QUICK, plans.THICK], ids=["quick", "thick"])
def test_our_network_of_a_plan_answers_as_nnunets(planned: plans.Planned) -> None:
    import torch

    from Testing.benchmarks.weights import FOREGROUND, nnunet_network, own_network

    content = plans.plans_json(replace(planned, features=planned.trained_features), FOREGROUND)
    theirs = nnunet_network(content, deep_supervision=False).eval()
    ours = own_network(content, theirs, deep_supervision=False).eval()
    image = torch.randn(1, 1, 16, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-4)
        # What ours learns goes back into theirs under both of its names.
        for value in ours.state_dict().values():
            value.mul_(0.9)
        theirs.load_state_dict(ours.state_dict(), strict=False)
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-4)


def test_dice() -> None:
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)
    assert record.dice(a, b) == pytest.approx(2 / 3)
    assert record.dice(a & False, b & False) is None


def test_the_plan_is_the_one_for_the_first_seeds_data() -> None:
    assert plans.THICK.patch == (32, 224, 224)
    assert plans.MAIN_SCAN.shape == (100, 512, 512)
    assert tile_count(plans.THICK, plans.MAIN_SCAN) == 6 * 4 * 4


def test_the_network_has_the_parameters_that_nnunet_plans() -> None:
    torch = pytest.importorskip("torch")
    from KidneySegLib.models.nnunet_plans import read_plan
    from KidneySegLib.networks import build_network

    for planned, millions in ((plans.THICK, 30.75), (plans.ISOTROPIC, 31.20)):
        read = read_plan(plans.plans_json(planned, {**dict.fromkeys(FOREGROUND, 1.0)}), plans.CONFIGURATION, "plans")
        with torch.device("meta"):
            network = build_network(read.network, {**read.arguments, read.outputs_argument: 2})
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


FOREGROUND = ("mean", "std", "percentile_99_5", "percentile_00_5")


def test_the_work_of_a_network_is_counted() -> None:
    torch = pytest.importorskip("torch")
    from Testing.benchmarks.limits import convolution_flops

    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.Conv3d(2, 4, 2, stride=2), torch.nn.ConvTranspose3d(4, 1, 2, 2)
    )
    voxels = 4 * 6 * 8
    expected = 2 * (voxels * 27 * 2 + voxels / 8 * 8 * 2 * 4 + voxels / 8 * 8 * 4)
    assert convolution_flops(network, (4, 6, 8)) == expected


def test_the_record_is_printed_and_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    from Testing.benchmarks.picture import draw

    ratios = record.ratios_of(measured())
    agreement = {"float32": {"parenchyma": 0.9999, "cortex": None}, "weights": "trained for a moment"}
    whole = {
        "ratios": {name: r["ratio"] for name, r in ratios.items()},
        "spread": ratios,
        "scans": {"abdomen": {**measured(), "agreement": agreement}},
        "agreement": agreement,
        "machine": {"processor": "a processor", "threads": 2, "amx_bf16": False, "limits": {"copy_gb_per_s": 9.5}},
        "versions": {"nnunetv2": "2.8.1"},
    }
    record.print_record(whole)
    printed = capsys.readouterr().out
    assert "network_bfloat16" in printed
    assert "0.99990" in printed
    draw(whole, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 1000


def test_cost_by_slices_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    from Testing.benchmarks.picture import draw_slices

    rows = [
        {
            "scan": [512, 512, slices],
            "scan_bytes": 512 * 512 * slices * 2,
            "peak_resident_bytes": 10**9,
            "warm_case_seconds": 3.0,
            "warm_stage_seconds": {"localise": 0.5, "network": 2.0},
        }
        for slices in (50, 100)
    ]
    draw_slices(rows, tmp_path / "slices.png")
    with Image.open(tmp_path / "slices.png") as picture:
        assert picture.width > 1000


def test_parts_are_added_to_a_record_of_this_machine_only(tmp_path: Path) -> None:
    import argparse

    from Testing.benchmarks.run import Benchmark

    path = tmp_path / "benchmark.json"
    given = argparse.Namespace(device="cpu", output=path, quick=True)
    with pytest.raises(SystemExit, match="must be the record of a run"):
        Benchmark(given).add(("slices",))
    path.write_text('{"machine": {"processor": "another"}}')
    with pytest.raises(SystemExit, match="another machine"):
        Benchmark(given).add(("slices",))
