"""One run: volume to engine, progress, and its result into the scene; or a message, and the scene as it was."""

import time

import slicer
from slicer.i18n import tr as _

from KidneySegLib.flags import FLAGS
from KidneySegPanel.case_request import readReplyLabels
from KidneySegPanel.measurement_table import showTable
from KidneySegPanel.result_node import createResult


class SegmentationRun:
    """Ends in exactly one of `finished(run)`, `failed(run, message, advice)` or `cancelled(run, reason)`.

    Attributes:
        resultNode: segmentation node, None until finished, and where no kidney was found.
        tableNode: measurement table, None until finished.
        isUltrasound: whether the volume is a picture, whose result is no CT result.
        reply: the engine's answer.
        seconds: how long the run took.
    """

    COMMAND = "segment"
    isUltrasound = False

    def __init__(
        self,
        engine,
        sender,
        volumeNode,
        *,
        model,
        device,
        caseId,
        patient,
        callbacks,
        findLesions=False,
        extra=None,
    ):
        """
        :param callbacks: object with ``progress(message)``, ``finished``, ``failed``, ``cancelled``.
        :param findLesions: ask the model to show cysts and masses too.
        :param extra: further fields of the request (tests).
        """
        self._engine = engine
        self._sender = sender
        self._callbacks = callbacks
        self._volumeId = volumeNode.GetID()
        self._grid = None
        self._request = None
        self._cancelReason = ""
        self._startTime = time.monotonic()
        self._extra = extra or {}
        self.volumeNode = volumeNode
        self.fields = {
            "model": model,
            "device": device,
            "find_lesions": findLesions,
            "case_id": caseId,
            "patient": patient,
        }
        self.resultNode = self.tableNode = self.reply = None
        self.seconds = 0.0
        self.over = False

    def start(self):
        try:
            given = self._send()
        except MemoryError:
            self._fail(_("There is not enough memory to hand the volume to the engine."), _("Close other scans."))
            return
        except (OSError, ValueError) as error:
            self._fail(
                _("The volume could not be handed to the engine: {reason}").format(reason=error),
                _("Free some disk space, or crop the volume to the abdomen."),
            )
            return
        self._request = self._engine.request(
            self.COMMAND,
            done=self._onDone,
            failed=lambda message: self._fail(message["message"], message.get("advice", "")),
            cancelled=self._onCancelled,
            progress=self._callbacks.progress,
            **given,
            **self.fields,
            **self._extra,
        )

    @property
    def foundKidney(self):
        return self.resultNode is not None

    def _send(self):
        """Make the engine able to read the volume; the fields of the request that describe it."""
        description, self._grid = self._sender.send(self.volumeNode)
        return {"volume": description}

    def cancel(self, reason=""):
        """Stop. :param reason: why, where it was not the user's wish."""
        if not self.over:
            self._cancelReason = reason
            self._engine.cancel(self._request)

    def _onDone(self, reply):
        volumeNode = slicer.mrmlScene.GetNodeByID(self._volumeId)
        if volumeNode is not self.volumeNode or volumeNode.GetImageData() is None:
            self._onCancelled(_("The volume was removed while its kidneys were being segmented."))
            return
        try:
            self._import(reply)
        except (OSError, ValueError, KeyError) as error:
            self._fail(
                _("The result could not be read: {reason}").format(reason=error),
                _("Try again; if it happens again, copy the log and report it."),
            )
            return
        self.over = True
        self.seconds = time.monotonic() - self._startTime
        self._callbacks.finished(self)

    def _import(self, reply):
        labels, index = readReplyLabels(self._engine.workspace, reply)
        labels, index = self._grid.labelsToOwn(labels, index)
        self.reply = reply
        # One undo step for all nodes that the run adds.
        slicer.mrmlScene.SaveStateForUndo()
        if labels.any():
            self.resultNode = createResult(self.volumeNode, labels, index, reply)
        self.tableNode = showTable(self.resultNode, self.volumeNode, reply["table"])

    def _fail(self, message, advice):
        if not self.over:
            self.over = True
            self._callbacks.failed(self, message, advice)

    def _onCancelled(self, reason=None):
        if not self.over:
            self.over = True
            self._callbacks.cancelled(self, reason or self._cancelReason)


def sentences(keys):
    """Sentences of flag keys, worst first."""
    order = {"critical": 0, "warning": 1, "info": 2}
    known = sorted((FLAGS[key] for key in keys if key in FLAGS), key=lambda flag: order[flag.severity.value])
    return [(flag.severity.value, flag.sentence) for flag in known]
