"""Modal dialogs: nobody sits in front of a test, so each one is answered or rejected, and none hangs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import shiboken6
from PySide6 import QtCore, QtWidgets

from .errors import recorded

LOOK_EVERY_MS = 20
Answer = Callable[[QtWidgets.QDialog], Any]


class UnexpectedDialog(AssertionError):
    """A modal dialog opened and the test had no answer for it; it was rejected."""


def accept(dialog: QtWidgets.QDialog) -> None:
    dialog.accept()


def reject(dialog: QtWidgets.QDialog) -> None:
    dialog.reject()


def press(text: str) -> Answer:
    """Answer: press the button with this text (``&`` left out). Raises LookupError when the dialog has none."""

    def answer(dialog: QtWidgets.QDialog) -> None:
        buttons = dialog.findChildren(QtWidgets.QAbstractButton)
        named = [button for button in buttons if button.text.replace("&", "") == text]
        if not named:
            raise LookupError(f"no button '{text}' in the dialog; there are {[button.text for button in buttons]}")
        named[0].click()

    return answer


def texts_of(dialog: QtWidgets.QDialog) -> str:
    """What the dialog says: title and labels."""
    if isinstance(dialog, QtWidgets.QMessageBox):
        return "\n".join(part for part in (dialog.text, dialog.informativeText) if part)
    labels = [label.text for label in dialog.findChildren(QtWidgets.QLabel) if label.text]
    return "\n".join([dialog.windowTitle, *labels])


class Dialogs:
    """Watches for modal dialogs. `shown` has the text of each, oldest first."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._answers: list[Answer] = []
        self._seen: set[int] = set()
        self._timer = QtCore.QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(LOOK_EVERY_MS)

    @contextlib.contextmanager
    def answered_by(self, answer: Answer) -> Iterator[list[str]]:
        """Every modal dialog that opens in the body of the ``with`` is handed to `answer`; gives the texts
        shown so far.
        """
        self._answers.append(answer)
        try:
            yield self.shown
        finally:
            self._answers.remove(answer)

    def _look(self) -> None:
        dialog = QtWidgets.QApplication.activeModalWidget()
        if not isinstance(dialog, QtWidgets.QDialog) or isinstance(dialog, QtWidgets.QProgressDialog):
            return
        key = shiboken6.getCppPointer(dialog)[0]
        if key in self._seen:
            return
        self._seen.add(key)
        dialog.finished.connect(lambda *_: self._seen.discard(key))
        text = texts_of(dialog)
        self.shown.append(text)
        if not self._answers:
            recorded.record(
                UnexpectedDialog(f"a modal dialog opened: {text!r}; answer it with host.dialogs.answered_by(...)")
            )
        try:
            (self._answers[-1] if self._answers else reject)(dialog)
        except Exception as error:
            recorded.record(error)
            dialog.reject()
