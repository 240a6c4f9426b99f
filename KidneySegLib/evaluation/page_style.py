"""The look of the evaluation's page: that of ``report.html``, wider, with room for plots."""

from __future__ import annotations

from KidneySegLib.export.report_style import STYLE

PAGE_STYLE = (
    STYLE
    + """
body { max-width: 1240px; }
h2 { margin-top: 26px; }
td:last-child { font-weight: 400; } tr.strong td, tr.strong th { font-weight: 600; }
.wide { overflow-x: auto; }
.wide table { font-size: 12.5px; }
.texts td { text-align: left; white-space: normal; } .texts th { text-align: left; vertical-align: top; }
.plots { display: flex; flex-wrap: wrap; gap: 14px; margin-top: 10px; }
.plots svg { border: 1px solid var(--line); border-radius: 6px; max-width: 100%; height: auto; }
@media print { svg, tr { break-inside: avoid; } .wide table { font-size: 8px; } .plots svg { width: 48%; } }
"""
)
