"""``summary.html``: a cohort at one glance, for quality control. One page that needs no network."""

from __future__ import annotations

import base64
import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from KidneySegLib.cohort.histogram import histogram
from KidneySegLib.cohort.record import CASES, DONE, CaseRecord
from KidneySegLib.cohort.throughput import BatchState
from KidneySegLib.export.report import RESEARCH_USE
from KidneySegLib.export.report_style import STYLE
from KidneySegLib.files import write_whole
from KidneySegLib.flags import FLAGS, Severity

SUMMARY = "summary.html"
#: So many cases have their picture on the page, those with the gravest flags first; the others are one click away.
MOST_THUMBNAILS = 240
#: Longest lists on the page; `volumes.csv` has them all.
_MOST_FAILURES = 500
_MOST_IDS = 12
_THUMBNAIL_PIXELS = 260
_JPEG_QUALITY = 70
_SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
_LIGHTS = ("red", "yellow", "green")

#: (heading, unit, column, sides shown)
_DISTRIBUTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Parenchyma, both kidneys", "mL", "parenchyma_ml", ("both",)),
    ("Parenchyma, each kidney", "mL", "parenchyma_ml", ("right", "left", "unsided")),
    ("Cortex, both kidneys", "mL", "cortex_ml", ("both",)),
    ("Cortex of parenchyma", "", "cortex_fraction", ("both",)),
    ("Length, each kidney", "mm", "length_mm", ("right", "left", "unsided")),
    ("Cortex, mean", "HU", "cortex_hu_mean", ("both",)),
)

_MORE_STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 10px 24px; }
.charts svg { width: 100%; height: auto; }
.charts figure { margin: 4px 0; } .charts figcaption { font-size: 13px; }
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 12px; }
.thumb { border: 1px solid var(--line); border-radius: 6px; padding: 8px; border-top: 3px solid #009e73; }
.thumb.warning { border-top-color: #e69f00; } .thumb.critical { border-top-color: #c62828; }
.thumb img { width: 100%; border-radius: 4px; } .thumb b { overflow-wrap: anywhere; }
.thumb p { margin: 2px 0; font-size: 12px; color: var(--quiet); }
.wide td { text-align: left; white-space: normal; overflow-wrap: anywhere; font-weight: 400; }
a { color: var(--accent); }
"""


def write_summary(output: Path, records: Sequence[CaseRecord], state: BatchState) -> None:
    """Write the page.

    Raises:
        OSError: it could not be written.
    """
    write_whole(output / SUMMARY, summary_html(output, records, state).encode("utf-8", "replace"))


def summary_html(output: Path, records: Sequence[CaseRecord], state: BatchState) -> str:
    """The page's text. Every text that a user or a file may have put in is escaped.

    Args:
        output: the batch's folder; pictures come from its results folders.
        records: all cases, in the order of the table.
        state: the counts of the run that ends now.
    """
    done = [record for record in records if record.status == DONE]
    failed = [record for record in records if record.status != DONE]
    parts = [
        "<header><h1>Kidney volumes of a cohort</h1></header>",
        _cards(done, failed),
        _run(state),
        _models(done),
        "<h2>Distributions</h2>" + _charts(done) if done else "",
        "<h2>Flags</h2>" + _flag_table(done) if done else "",
        _failures(failed),
        _thumbnails(output, done),
        f"<footer>{escape(RESEARCH_USE)}</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Kidney volumes of a cohort</title><style>{STYLE}{_MORE_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def severity_of(record: CaseRecord) -> Severity | None:
    """The gravest severity among a case's flags; None without flags."""
    found = {FLAGS[key].severity for key in record.flags if key in FLAGS}
    return next((severity for severity in _SEVERITIES if severity in found), None)


def _cards(done: Sequence[CaseRecord], failed: Sequence[CaseRecord]) -> str:
    flagged = sum(severity_of(record) in (Severity.CRITICAL, Severity.WARNING) for record in done)
    cards = [("Measured", len(done)), ("With warnings", flagged), ("Failed", len(failed))]
    lights = Counter((record.row("both") or {}).get("traffic_light", "") for record in done)
    cards += [(f"Light: {light}", lights[light]) for light in _LIGHTS if lights[light]]
    boxes = "".join(f"<div class='card'><span>{escape(name)}</span><b>{count}</b></div>" for name, count in cards)
    return f"<div class='cards'>{boxes}</div>"


def _run(state: BatchState) -> str:
    texts = [f"Last run: {state.made} segmented, {state.skipped} were done before, {state.failed} failed"]
    if state.made or state.failed:
        texts.append(f"{state.seconds / 60:.1f} minutes")
    if state.cases_per_hour is not None:
        texts.append(f"{state.cases_per_hour:.0f} cases an hour")
    missing = state.total - state.finished
    if missing:
        texts.append(f"{missing} were not reached: run the same command again")
    return f"<p class='note'>{escape('; '.join(texts))}.</p>"


def _models(done: Sequence[CaseRecord]) -> str:
    """A table of several models or versions is to be read with care."""
    makers = Counter(
        (row.get("model", ""), row.get("model_sha256", "")[:12], record.program_version)
        for record in done
        if (row := record.row("both")) is not None
    )
    if len(makers) < 2:
        return ""
    lines = "".join(
        f"<li class='warning'>{count} cases by {escape(model)} ({escape(digest)}), KidneySeg {escape(version)}</li>"
        for (model, digest, version), count in makers.most_common()
    )
    return f"<ul class='flags'><li class='warning'><b>Check</b> Not all cases were made the same way:</li>{lines}</ul>"


def _charts(done: Sequence[CaseRecord]) -> str:
    figures = []
    for heading, unit, column, sides in _DISTRIBUTIONS:
        series = {side: _values(done, column, side) for side in sides}
        series = {side: values for side, values in series.items() if values}
        if series:
            figures.append(histogram(heading, unit, series))
    return f"<div class='charts'>{''.join(figures)}</div>"


def _values(done: Sequence[CaseRecord], column: str, side: str) -> list[float]:
    values = []
    for record in done:
        row = record.row(side)
        with contextlib.suppress(ValueError, KeyError):
            if row is not None and row[column]:
                values.append(float(row[column]))
    return values


def _flag_table(done: Sequence[CaseRecord]) -> str:
    cases: dict[str, list[str]] = {}
    for record in done:
        for key in record.flags:
            cases.setdefault(key, []).append(record.case_id)
    if not cases:
        return "<p>None.</p>"
    order = [key for severity in _SEVERITIES for key, flag in FLAGS.items() if flag.severity is severity]
    lines = []
    for key in (*(key for key in order if key in cases), *sorted(cases.keys() - FLAGS.keys())):
        sentence = FLAGS[key].sentence if key in FLAGS else key
        ids = ", ".join(_link(case_id) for case_id in cases[key][:_MOST_IDS])
        more = f" and {len(cases[key]) - _MOST_IDS} more" if len(cases[key]) > _MOST_IDS else ""
        lines.append(f"<tr><th>{escape(sentence)}</th><td>{len(cases[key])}</td><td>{ids}{more}</td></tr>")
    return f"<table class='wide'><thead><tr><th></th><th>cases</th><th></th></tr></thead>{''.join(lines)}</table>"


def _failures(failed: Sequence[CaseRecord]) -> str:
    if not failed:
        return ""
    lines = "".join(
        f"<tr><th>{escape(record.case_id)}</th><td>{escape(record.error)}</td></tr>"
        for record in failed[:_MOST_FAILURES]
    )
    more = len(failed) - _MOST_FAILURES
    note = f"<p class='note'>{more} more are in volumes.csv.</p>" if more > 0 else ""
    return f"<h2>Failed</h2><table class='wide'>{lines}</table>{note}"


def _thumbnails(output: Path, done: Sequence[CaseRecord]) -> str:
    if not done:
        return ""
    rank: Mapping[Severity | None, int] = {severity: place for place, severity in enumerate((*_SEVERITIES, None))}
    ordered = sorted(done, key=lambda record: rank[severity_of(record)])
    boxes = [_thumbnail(output, record) for record in ordered[:MOST_THUMBNAILS]]
    more = len(ordered) - MOST_THUMBNAILS
    note = f"<p class='note'>{more} cases more, none with graver flags: see cases/.</p>" if more > 0 else ""
    return f"<h2>Cases, gravest flags first</h2><div class='thumbs'>{''.join(boxes)}</div>{note}"


def _thumbnail(output: Path, record: CaseRecord) -> str:
    severity = severity_of(record)
    row = record.row("both") or {}
    picture = _picture(output / CASES / record.case_id / "overlay.png")
    image = f"<img alt='' src='data:image/jpeg;base64,{picture}'>" if picture else ""
    volume = row.get("parenchyma_ml", "")
    facts = f"{float(volume):.0f} mL parenchyma" if _is_number(volume) else "not measured"
    sentences = " ".join(escape(FLAGS[key].sentence) for key in record.flags if key in FLAGS)
    return (
        f"<div class='thumb {severity.value if severity is not None else ''}'><b>{_link(record.case_id)}</b>"
        f"{image}<p>{escape(facts)}</p><p>{sentences}</p></div>"
    )


def _link(case_id: str) -> str:
    return f"<a href='{quote(f'{CASES}/{case_id}/report.html')}'>{escape(case_id)}</a>"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _picture(path: Path) -> str:
    """A small JPEG of a picture, in base 64; empty if there is none."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
            stream = io.BytesIO()
            picture.convert("RGB").save(stream, format="JPEG", quality=_JPEG_QUALITY)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return base64.b64encode(stream.getvalue()).decode("ascii")
