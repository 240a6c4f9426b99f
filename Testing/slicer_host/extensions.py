"""qSlicerExtensionsManagerModel: no extension is installed, none can be."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from .standin import models


@models("qSlicerExtensionsManagerModel")
class ExtensionsManagerModel:
    _defaults = {"interactive": True}

    def isExtensionInstalled(self, _name):
        return False

    isExtensionEnabled = isExtensionScheduledForUpdate = isExtensionScheduledForUninstall = (
        isExtensionUpdateAvailable
    ) = isExtensionInstalled

    def updateExtensionsMetadataFromServer(self, _force=False, _wait=False):
        return False

    def installExtensionFromServer(self, _name, _restart=True, _wait=True):
        return False

    downloadAndInstallExtensionByName = installExtensionFromServer
