"""Synthetic contrast-enhanced abdominal CT with exact truth: made by the project, seeded, with no patient data.

A scene (`scene.py`) is geometry and contrast; `render.py` draws it on a grid without noise; `scanner.py` makes a CT of
it as a protocol (`protocol.py`) asks; `output.py` writes cases.
"""
