"""The benchmark's record: medians, spread, ratios, and the tables that a person reads."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

RATIOS = ("network_bfloat16", "network_float32", "outside_network", "whole_job", "peak_memory")
#: Of the issue, for processors with AMX.
TARGETS_AMX = {
    "network_bfloat16": 10.0,
    "network_float32": 2.6,
    "outside_network": 10.0,
    "whole_job": 60.0,
    "peak_memory": 3.0,
}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, least and greatest of measurements, and themselves.

    Raises:
        ValueError: without any.
    """
    if not values:
        raise ValueError("at least one measurement was expected, got none")
    return {
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
        "values": list(values),
    }


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """nnU-Net's figure over ours: of the medians; the spread is that of alternating pairs.

    Raises:
        ValueError: without measurements, or where ours is 0.
    """
    if not theirs or not ours or min(ours) <= 0:
        raise ValueError(f"positive measurements of both sides were expected, got {theirs} and {ours}")
    pairs = [t / o for t, o in zip(theirs, ours, strict=False)]
    return {
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "least": min(pairs),
        "greatest": max(pairs),
        "pairs": len(pairs),
    }


def ratios_of(scan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The ratios of a scan's measurements, those that were made.

    Args:
        scan: keys ``tiles`` (``nnunet_float32``, ``ours_float32``, ``ours_bfloat16``: seconds), ``outside``
            (``nnunet``, ``ours``: seconds), ``whole`` (``nnunet``, ``ours``: what `sides.run_side` gave).
    """
    found: dict[str, dict[str, Any]] = {}
    tiles, outside, whole = (scan.get(key) or {} for key in ("tiles", "outside", "whole"))
    for precision in ("bfloat16", "float32"):
        if tiles.get(f"ours_{precision}"):
            found[f"network_{precision}"] = ratio(tiles["nnunet_float32"], tiles[f"ours_{precision}"])
    if outside:
        found["outside_network"] = ratio(outside["nnunet"], outside["ours"])
    if whole:
        for name, key in (("whole_job", "wall_seconds"), ("peak_memory", "peak_bytes")):
            found[name] = ratio([whole["nnunet"][key]], [whole["ours"][key]])
    return found


def dice(a: Any, b: Any) -> float | None:
    """Dice of two masks; None where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


def print_record(record: Mapping[str, Any]) -> None:
    """All that was measured, as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=120)
    machine = record["machine"]
    console.print(f"\n{machine['processor']}, {machine['threads']} threads, AMX bfloat16: {machine['amx_bf16']}")
    for name, value in machine["limits"].items():
        console.print(f"  {name}: {value:.1f}")
    table = Table("ratio: nnunetv2 over ours", "median", "pairs from", "to", "aim with AMX")
    for name in RATIOS:
        if name in record["ratios"]:
            r = record["spread"][name]
            table.add_row(
                name, f"{r['ratio']:.1f}", f"{r['least']:.1f}", f"{r['greatest']:.1f}", f"{TARGETS_AMX[name]:g}"
            )
    console.print(table)
    for name, scan in record["scans"].items():
        _print_scan(console, name, scan)
    if record.get("network_alone"):
        _print_scan(console, "network alone", record["network_alone"])
    for name in ("cold_start", "training_step", "slices"):
        if record.get(name):
            console.print(f"{name}: {record[name]}")


def _dice_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"


def _print_scan(console: Any, name: str, scan: Mapping[str, Any]) -> None:
    from rich.table import Table

    if scan.get("tiles"):
        table = Table(f"{name}: one tile", "median s", "least", "greatest", "share of matrix rate")
        for key, values in scan["tiles"].items():
            if values:
                s = summary(values)
                share = scan.get("share_of_limit", {}).get(key)
                table.add_row(
                    key,
                    *(f"{s[k]:.2f}" for k in ("median", "least", "greatest")),
                    "-" if share is None else f"{share:.0%}",
                )
        console.print(table)
    whole = scan.get("whole") or {}
    if whole:
        stages = list(dict.fromkeys(stage for side in whole.values() for stage in side["seconds"]))
        table = Table(f"{name}: whole job, s", *whole)
        for stage in stages:
            table.add_row(stage, *(_seconds(side["seconds"].get(stage)) for side in whole.values()))
        table.add_row("process, start to end", *(_seconds(side["wall_seconds"]) for side in whole.values()))
        table.add_row("processor seconds", *(_seconds(side["cpu_seconds"]) for side in whole.values()))
        table.add_row("second case, warm", *(_seconds(side.get("warm_seconds")) for side in whole.values()))
        table.add_row("peak memory, MiB", *(f"{side['peak_bytes'] / 2**20:.0f}" for side in whole.values()))
        console.print(table)
    if scan.get("agreement"):
        table = Table(f"{name}: agreement of masks, Dice", "parenchyma", "cortex")
        for key, values in scan["agreement"].items():
            if isinstance(values, Mapping):
                table.add_row(key, *(_dice_text(values.get(k)) for k in ("parenchyma", "cortex")))
        console.print(table)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
