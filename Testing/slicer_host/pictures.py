"""Pictures of Qt widgets, offscreen."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtCore, QtWidgets

PANEL_WIDTH_PX = 380


def picture_of(
    widget: QtWidgets.QWidget, path: Path, width_px: int = PANEL_WIDTH_PX, height_px: int | None = None
) -> tuple[int, int]:
    """Save a picture of `widget`, laid out at `width_px` (and at the height that it asks for there); gives its size.

    A panel that cannot be as narrow comes out wider, which the returned size tells.
    """
    widget.setAttribute(QtCore.Qt.WA_DontShowOnScreen, True)
    widget.show()
    layout = widget.layout()
    for _ in range(3):  # word-wrapped labels settle after a resize
        wanted = height_px or (
            layout.totalHeightForWidth(width_px)
            if layout is not None and layout.hasHeightForWidth()
            else widget.sizeHint.height()
        )
        widget.resize(width_px, max(1, wanted))
        QtWidgets.QApplication.processEvents()
    pixmap = widget.grab()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not pixmap.save(str(path)):
        raise OSError(f"cannot write the picture {path}")
    return pixmap.width(), pixmap.height()
