"""The look of ``report.html``: quiet, readable, one A4 sheet when printed."""

from __future__ import annotations

STYLE = """
:root { --ink: #1b2430; --quiet: #667085; --line: #e3e7ee; --paper: #fff; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 32px; max-width: 1020px; color: var(--ink); background: var(--paper);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { display: flex; align-items: baseline; gap: 16px; border-bottom: 2px solid var(--ink); padding-bottom: 8px; }
h1 { font-size: 24px; margin: 0; white-space: nowrap; }
.case { margin: 0; font-size: 18px; color: var(--quiet); overflow-wrap: anywhere; }
.origin { margin: 8px 0 0; font-weight: 600; } .origin q { font-weight: 400; color: var(--quiet); }
h2 { font-size: 13px; text-transform: uppercase; letter-spacing: .06em; color: var(--quiet); margin: 14px 0 4px; }
.cards { display: flex; gap: 10px; margin: 14px 0 0; }
.card { flex: 1; border: 1px solid var(--line); border-top: 3px solid var(--accent); border-radius: 6px;
  padding: 6px 12px; }
.card.side { border-top-color: #d55e00; }
.card span { display: block; color: var(--quiet); font-size: 12px; }
.card b { font-size: 24px; } .card i { font-style: normal; color: var(--quiet); margin-left: 4px; }
.flags { list-style: none; margin: 12px 0 0; padding: 0; }
.flags li { border-left: 4px solid; border-radius: 4px; padding: 4px 10px; margin: 4px 0; }
.flags .critical { border-color: #c62828; background: #fdecea; } .flags .critical b { color: #a31515; }
.flags .warning { border-color: #e69f00; background: #fff6e0; } .flags .warning b { color: #8a5a00; }
.flags .info { border-color: #56b4e9; background: #eaf6fd; } .flags .info b { color: #0b5c8c; }
.flags .fine { border-color: #009e73; background: #e8f7f1; } .flags .fine b { color: #00694c; }
figure { margin: 12px 0; } figure img { width: 100%; border-radius: 8px; display: block; }
.columns { display: flex; gap: 32px; } .columns section { flex: 1; min-width: 0; }
.columns section:first-child { flex: 1.25; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 6px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; padding-left: 0; }
thead th { border-bottom: 1px solid var(--ink); } td:last-child { font-weight: 600; }
small { color: var(--quiet); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 1px 14px; margin: 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
.note { margin: 4px 0; color: var(--quiet); font-size: 12.5px; }
.fine-print { font-size: 12px; }
footer { margin-top: 14px; padding-top: 6px; border-top: 1px solid var(--line); color: var(--quiet); font-size: 12px; }
@page { size: A4; margin: 10mm; }
@media print {
  body { padding: 0; max-width: none; font-size: 10.5px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h1 { font-size: 18px; } .case { font-size: 14px; } .card b { font-size: 17px; } .card { padding: 2px 8px; }
  .cards { margin-top: 8px; } .flags { margin-top: 6px; } .flags li { padding: 1px 8px; margin: 2px 0; }
  figure { margin: 6px 0; text-align: center; }
  figure img { width: auto; max-width: 100%; max-height: 118mm; margin: 0 auto; }
  th, td { padding: 1px 5px; } .fine-print { font-size: 9px; line-height: 1.25; }
  .note { font-size: 9.5px; } h2 { margin-top: 8px; font-size: 10px; }
  footer { font-size: 9px; margin-top: 6px; } figure, tr, dl { break-inside: avoid; }
}
"""
