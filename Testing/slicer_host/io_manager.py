"""qSlicerIOManager: loading and saving through the real MRML storage nodes."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

import os
from pathlib import Path

import slicer
import vtk

from . import file_types
from .standin import models


def _note(messages, text):
    if messages is not None:
        messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)


@models("qSlicerCoreIOManager")
class CoreIOManager:
    _defaults = {"defaultSceneFileType": "MRML Scene (.mrml)", "defaultMaximumFileNameLength": 50}

    def fileType(self, path):
        return file_types.by_path(str(path))

    def fileTypes(self, path):
        return (file_types.by_path(str(path)),)

    def fileWriterFileType(self, node, _format=""):
        if node is slicer.mrmlScene:
            return "SceneFile"
        kind = file_types.by_node(node)
        return kind.name if kind is not None else "NoFile"

    def fileWriterExtensions(self, node):
        kind = file_types.by_node(node)
        return tuple(f"{kind.name} (*{extension})" for extension in kind.extensions) if kind is not None else ()

    def extractKnownExtension(self, path, _node=None):
        return file_types.known_extension(path)

    def stripKnownExtension(self, path, _node=None):
        return str(path)[: len(str(path)) - len(file_types.known_extension(path))]

    def registeredFileReaderCount(self, name):
        return int(name == "SceneFile" or file_types.by_name(name) is not None)

    registeredFileWriterCount = registeredFileReaderCount

    def forceFileNameValidCharacters(self, name):
        return "".join(c for c in name if c.isalnum() or c in "-+_. ()$!~#'%^{}")

    def createAndAddDefaultStorageNode(self, node):
        node.AddDefaultStorageNode()
        return node.GetStorageNode()

    def addDefaultStorageNodes(self):
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLStorableNode")):
            slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLStorableNode").AddDefaultStorageNode()

    def loadNodes(self, file_type, properties, loaded=None, messages=None):
        path = str(properties["fileName"])
        if file_type == "SceneFile" or path.endswith(file_types.SCENE_EXTENSIONS):
            return self.loadScene(path, bool(properties.get("clear", True)), messages)
        kind = file_types.by_name(file_type)
        if kind is None or not os.path.isfile(path):
            _note(messages, f"Cannot read {path} as {file_type}")
            return False
        node_class = (
            "vtkMRMLLabelMapVolumeNode" if file_type == "VolumeFile" and properties.get("labelmap") else kind.node_class
        )
        storage = slicer.mrmlScene.AddNewNodeByClass(kind.storage_class)
        storage.SetFileName(path)
        if properties.get("singleFile") and hasattr(storage, "SetSingleFile"):
            storage.SetSingleFile(True)
        name = properties.get("name") or self.stripKnownExtension(os.path.basename(path))
        node = slicer.mrmlScene.AddNewNodeByClass(node_class, slicer.mrmlScene.GenerateUniqueName(name))
        if not storage.ReadData(node):
            slicer.mrmlScene.RemoveNode(node)
            slicer.mrmlScene.RemoveNode(storage)
            _note(messages, f"Cannot read {path} as {file_type}")
            return False
        node.SetAndObserveStorageNodeID(storage.GetID())
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        if file_type == "VolumeFile" and properties.get("show", True):
            slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(node.GetID())
            slicer.app.applicationLogic().PropagateVolumeSelection()
        if loaded is not None:
            loaded.AddItem(node)
        self.newFileLoaded.emit(properties)
        return True

    def saveNodes(self, file_type, properties, messages=None, scene=None):
        path = str(properties["fileName"])
        if "nodeID" not in properties:
            return self._save_scene(path)
        node = (scene or slicer.mrmlScene).GetNodeByID(properties["nodeID"])
        if node is None or file_type == "NoFile":
            _note(messages, f"Nothing can be saved to {path}")
            return False
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
        if storage is None:
            return False
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(properties["useCompression"])
        return bool(storage.WriteData(node))

    def _save_scene(self, path):
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(scene.WriteToMRB(path))
        if path.endswith(".mrml"):
            scene.SetURL(path)
            scene.SetRootDirectory(os.path.dirname(path))
            self.addDefaultStorageNodes()
            return bool(scene.Commit())
        Path(path).mkdir(parents=True, exist_ok=True)
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(path, None))

    def exportNodes(self, node_ids, paths, properties, harden=False, messages=None):
        saved = True
        for identifier, path in zip(node_ids, paths, strict=True):
            node = slicer.mrmlScene.GetNodeByID(identifier)
            storage = node.CreateDefaultStorageNode()
            storage.SetFileName(str(path))
            saved = bool(storage.WriteData(node)) and saved
        return saved

    def loadScene(self, path, clear=True, messages=None):
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(
                scene.ReadFromMRB(path, clear, messages) if messages is not None else scene.ReadFromMRB(path, clear)
            )
        scene.SetURL(path)
        return bool(scene.Connect() if clear else scene.Import())

    def loadFile(self, path, messages=None):
        return self.loadNodes(self.fileType(path), {"fileName": path}, None, messages)
