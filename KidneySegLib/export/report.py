"""``report.html``: one self-contained page, which prints on one A4 sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from KidneySegLib.export.report_style import STYLE
from KidneySegLib.export.review import origin_sentence
from KidneySegLib.flags import FLAGS, Severity
from KidneySegLib.measurement.table import MeasurementTable, Row

if TYPE_CHECKING:
    from PIL import Image

RESEARCH_USE = (
    "For research use only. Not a medical device: the numbers and pictures are no diagnosis and must be checked by a "
    "person who is qualified to do so."
)
#: (heading, unit, field of `Row`, decimals shown); rows without any value are left out.
_QUANTITIES: tuple[tuple[str, str, str, int], ...] = (
    ("Parenchyma", "mL", "parenchyma_ml", 1),
    ("Cortex", "mL", "cortex_ml", 1),
    ("Medulla", "mL", "medulla_ml", 1),
    ("Cortex of parenchyma", "%", "cortex_fraction", 1),
    ("Share of both kidneys", "%", "split_percent", 1),
    ("Cysts", "mL", "cyst_ml", 1),
    ("Largest cyst", "mm", "cyst_largest_diameter_mm", 0),
    ("Cysts, mean", "HU", "cyst_hu_mean", 0),
    ("Masses", "mL", "mass_ml", 1),
    ("Largest mass", "mm", "mass_largest_diameter_mm", 0),
    ("Masses, mean", "HU", "mass_hu_mean", 0),
    ("Kidney with cysts (TKV)", "mL", "total_kidney_ml", 1),
    ("Kidney with cysts per height", "mL/m", "total_kidney_ml_per_m", 1),
    ("Ellipsoid estimate (pi/6 L W D)", "mL", "ellipsoid_ml", 1),
    ("Length", "mm", "length_mm", 0),
    ("Cortical thickness", "mm", "cortical_thickness_mm", 1),
    ("Cortex, mean", "HU", "cortex_hu_mean", 0),
    ("Medulla, mean", "HU", "medulla_hu_mean", 0),
    ("Parenchyma per body surface", "mL/m²", "parenchyma_ml_per_m2", 1),
    ("Cortex per body surface", "mL/m²", "cortex_ml_per_m2", 1),
    ("Parenchyma per height", "mL/m", "parenchyma_ml_per_m", 1),
    ("Parenchyma per weight", "mL/kg", "parenchyma_ml_per_kg", 2),
)
_SEVERITY_WORDS = {Severity.INFO: "Note", Severity.WARNING: "Check", Severity.CRITICAL: "Important"}
_JPEG_QUALITY = 88


def report_html(
    *,
    case_id: str,
    table: MeasurementTable,
    picture: Image.Image,
    provenance: Mapping[str, Any],
    phase: Any = None,
) -> str:
    """The report's text. Every text that a user or a file may have put in is escaped.

    Args:
        case_id: name of the case.
        table: measurements and flags.
        picture: the overlay, put into the page itself.
        provenance: what ``provenance.json`` says.
        phase: `KidneySegLib.ct.phase.PhaseEstimate`, or None.
    """
    parts = [
        f"<header><h1>Kidney volumes</h1><p class='case'>{escape(case_id)}</p></header>",
        _origin(provenance),
        _headline(table),
        _flags(table, phase),
        f"<figure><img alt='Kidneys on CT, outlined' src='data:image/jpeg;base64,{_jpeg(picture)}'></figure>",
        "<div class='columns'><section>",
        _table(table),
        "</section><section>",
        _clinical(table),
        _phase(phase),
        _provenance(provenance),
        "</section></div>",
        f"<footer>{escape(RESEARCH_USE)}</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Kidney volumes: {escape(case_id)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _headline(table: MeasurementTable) -> str:
    both = table.row("both")
    if both is None or both.parenchyma_ml is None:
        return ""
    shown = [("Parenchyma", both.parenchyma_ml, ""), ("Cortex", both.cortex_ml, ""), ("Medulla", both.medulla_ml, "")]
    cards = [
        f"<div class='card'><span>{name}</span><b>{value:.0f}</b><i>mL</i></div>"
        for name, value, _ in shown
        if value is not None
    ]
    cards += [
        f"<div class='card side'><span>{_side_name(row.side)}</span><b>{row.parenchyma_ml:.0f}</b><i>mL</i></div>"
        for row in table
        if row.side != "both" and row.parenchyma_ml is not None
    ]
    return f"<div class='cards'>{''.join(cards)}</div>"


def _origin(provenance: Mapping[str, Any]) -> str:
    """Whether the numbers are a model's or a person's: before the numbers."""
    sentence = origin_sentence(provenance)
    comment = str((provenance.get("review") or {}).get("comment") or "")
    said = f" <q>{escape(comment)}</q>" if comment else ""
    return f"<p class='origin'>{escape(sentence)}{said}</p>" if sentence else ""


def _flags(table: MeasurementTable, phase: Any) -> str:
    keys = list(dict.fromkeys((*table.flags, *getattr(phase, "flags", ()))))
    if not keys:
        return "<ul class='flags'><li class='fine'><b>No warnings</b> from the automatic checks.</li></ul>"
    order = [Severity.CRITICAL, Severity.WARNING, Severity.INFO]
    items = []
    for key in sorted(keys, key=lambda k: order.index(FLAGS[k].severity)):
        flag = FLAGS[key]
        sides = [_side_name(row.side) for row in table if key in row.flags and row.side != "both"]
        kidneys = sum(row.side != "both" for row in table)
        where = f" ({escape(', '.join(sides).lower())})" if 0 < len(sides) < kidneys else ""
        items.append(
            f"<li class='{flag.severity.value}'><b>{_SEVERITY_WORDS[flag.severity]}</b> "
            f"{escape(flag.sentence[:-1])}{where}.</li>"
        )
    return f"<ul class='flags'>{''.join(items)}</ul>"


def _table(table: MeasurementTable) -> str:
    rows = list(table)
    head = "".join(f"<th>{_side_name(row.side)}</th>" for row in rows)
    lines = []
    for name, unit, field, decimals in _QUANTITIES:
        values = [_value(row, field, decimals) for row in rows]
        if any(values):
            cells = "".join(f"<td>{value or '&ndash;'}</td>" for value in values)
            lines.append(f"<tr><th>{name} <small>{unit}</small></th>{cells}</tr>")
    if not lines:
        return "<p>Nothing was measured.</p>"
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _value(row: Row, field: str, decimals: int) -> str:
    value = getattr(row, field)
    if value is None:
        return ""
    return f"{100 * value if field == 'cortex_fraction' else value:.{decimals}f}"


def _clinical(table: MeasurementTable) -> str:
    both = table.row("both")
    facts = []
    if both is not None and both.egfr_ckd_epi_2021 is not None:
        facts.append(
            ("eGFR, CKD-EPI 2021", f"{both.egfr_ckd_epi_2021:.0f} mL/min/1.73 m² (KDIGO {escape(both.kdigo_stage)})")
        )
    if both is not None and both.egfr_ckd_epi_2009 is not None:
        facts.append(("eGFR, CKD-EPI 2009", f"{both.egfr_ckd_epi_2009:.0f} mL/min/1.73 m²"))
    if both is not None and both.bsa_mosteller_m2 is not None:
        facts.append(("Body surface, Mosteller", f"{both.bsa_mosteller_m2:.2f} m²"))
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in table.notes)
    return (f"<h2>Patient</h2>{_facts(facts)}{notes}") if facts or notes else ""


def _phase(phase: Any) -> str:
    if phase is None:
        return ""
    facts = [("Phase", escape(str(getattr(phase.phase, "value", phase.phase))))]
    for name, field in (
        ("Aorta", "aorta_hu"),
        ("Cortex", "cortex_hu"),
        ("Medulla", "medulla_hu"),
        ("Collecting system", "collecting_system_hu"),
    ):
        value = getattr(phase, field, None)
        if value is not None:
            facts.append((name, f"{value:.0f} HU"))
    reason = getattr(phase, "reason", "")
    return f"<h2>Contrast</h2>{_facts(facts)}" + (f"<p class='note'>{escape(reason)}</p>" if reason else "")


def _provenance(provenance: Mapping[str, Any]) -> str:
    facts = []
    for name, value in flat(provenance):
        text = _plain(value)
        shown = text[:12] + "…" if len(text) == 64 and all(c in "0123456789abcdef" for c in text) else text
        facts.append((escape(name), f"<span title='{escape(text, quote=True)}'>{escape(shown[:80])}</span>"))
    return f"<h2>How it was made</h2><div class='fine-print'>{_facts(facts)}</div>" if facts else ""


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " × ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The lines of ``provenance.json`` that a reader of the report wants, as (words, value)."""
    found: list[tuple[str, Any]] = []
    for name, path in _SHOWN:
        value: Any = values
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value not in (None, "", {}, []):
            found.append((name, value))
    seconds = values.get("seconds")
    if isinstance(seconds, Mapping) and seconds:
        found.append(("Time", f"{sum(float(v) for v in seconds.values()):.1f} s"))
    return found


_SHOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Program", ("program",)),
    ("Version", ("version",)),
    ("Date", ("created",)),
    ("Source", ("source",)),
    ("Reader", ("review", "reader")),
    ("Reviewed", ("review", "time")),
    ("Review", ("review", "status")),
    ("Voxels changed", ("review", "changed_voxels")),
    ("Model", ("model", "name")),
    ("Model version", ("model", "version")),
    ("Model hash", ("model", "sha256")),
    ("Device", ("device",)),
    ("Precision", ("precision",)),
    ("Backend", ("backend",)),
    ("Scan hash", ("input", "sha256")),
    ("Voxels", ("input", "size")),
    ("Voxel size, mm", ("input", "spacing_mm")),
    ("Slice thickness, mm", ("input", "slice_thickness_mm")),
)


def _facts(facts: list[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts) + "</dl>" if facts else ""


def _side_name(side: str) -> str:
    return {"unsided": "No side"}.get(side, escape(side.capitalize()))


def _jpeg(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, format="JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")
