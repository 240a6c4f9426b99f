"""Finding the parts of a trained nnU-Net v2 model in a folder or a zip file. Nothing in it is trusted."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.importing import check_members, copy_stream
from KidneySegLib.progress import Progress

#: plans.json of many configurations has some hundred kilobytes.
MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_LICENCE_BYTES = 1024 * 1024
#: Folders that are looked into for a model.
MAX_FOLDERS = 2000
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_FOLD = re.compile(r"fold_(\d{1,2}|all)")
_LICENCE = re.compile(r"(licen[cs]e|copying|notice)([._-].*)?", re.IGNORECASE)
_WANTED = re.compile(r"fold_(\d{1,2}|all)/checkpoint_(final|best|latest)\.pth")


@dataclass(frozen=True)
class ModelFolder:
    """A trained model on disk.

    Attributes:
        path: its folder.
        dataset, plans: what dataset.json and plans.json hold.
        checkpoints: the checkpoint of each fold.
        licences: texts of licence files beside it, by name.
    """

    path: Path
    dataset: dict[str, Any]
    plans: dict[str, Any]
    checkpoints: tuple[Path, ...]
    licences: dict[str, bytes]


def is_nnunet(source: Path) -> bool:
    """Whether a folder or zip file looks like a trained nnU-Net v2 model rather than a bundle."""
    try:
        if source.is_dir():
            return not (source / "model.json").is_file() and bool(_model_folders(source))
        if not zipfile.is_zipfile(source):
            return False
        with zipfile.ZipFile(source) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
        return not any(n.name == "model.json" and len(n.parts) <= 2 for n in names) and any(
            n.name == "plans.json" for n in names
        )
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


@contextmanager
def open_model(
    source: Path, folds: tuple[str, ...] | None, checkpoint: str | None, progress: Progress
) -> Iterator[ModelFolder]:
    """The model in a folder or zip file; a zip file's parts are unpacked for the while.

    Args:
        source: a folder with dataset.json, plans.json and fold_*, one that holds such a folder, or a zip of it.
        folds: which folds, ``0`` to ``99`` or ``all``; None: all numbered ones, or else ``all``.
        checkpoint: ``final``, ``best`` or ``latest``; None: the final one, or else the best one.
        progress: told about unpacking; may cancel.

    Raises:
        ModelError: if there is no such model, or more than one, or the zip file is unsafe.
    """
    if source.is_dir():
        yield _read(_only_model(source, source), source, folds, checkpoint)
        return
    if not source.is_file():
        raise ModelError(f"A model folder or zip file was expected at {source}, but there is none.")
    if not zipfile.is_zipfile(source):
        raise ModelError(
            f"{source} is neither a folder nor a zip file. Give a trained nnU-Net v2 model as folder or zip."
        )
    place = Path(tempfile.mkdtemp(prefix="kidneyseg-nnunet-"))
    try:
        with zipfile.ZipFile(source) as archive:
            _unpack(archive, source, place, progress)
        yield _read(_only_model(place, source), source, folds, checkpoint)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        # zipfile raises RuntimeError for encrypted members and NotImplementedError for unknown compression.
        if (
            isinstance(error, RuntimeError)
            and not isinstance(error, NotImplementedError)
            and "password" not in str(error)
        ):
            raise
        raise ModelError(f"The zip file {source} could not be read: {error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unpack(archive: zipfile.ZipFile, source: Path, place: Path, progress: Progress) -> None:
    """Write the members that a model needs, and no other."""
    members = [m for m in archive.infolist() if not m.is_dir()]
    check_members(archive.infolist(), source)
    for index, member in enumerate(members):
        path = PurePosixPath(member.filename)
        limit = _limit(path)
        if limit == 0:
            continue
        if limit is not None and member.file_size > limit:
            raise ModelError(
                f"{source}: {path} has {member.file_size} bytes, too many for such a file; it was refused."
            )
        progress.report("import", 0.5 * index / len(members), path.name)
        target = place.joinpath(*path.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as incoming, target.open("xb") as outgoing:
            copy_stream(incoming, outgoing, f"{source}: {path}", progress)


def _limit(path: PurePosixPath) -> int | None:
    """Most bytes of a member; 0 where it is not wanted, None for weights."""
    if path.parts[:1] == ("__MACOSX",):
        return 0
    if path.name in ("dataset.json", "plans.json"):
        return MAX_JSON_BYTES
    if _LICENCE.fullmatch(path.name):
        return MAX_LICENCE_BYTES
    return None if _WANTED.fullmatch("/".join(path.parts[-2:])) else 0


def _model_folders(top: Path) -> list[Path]:
    """Folders with plans.json, dataset.json and a fold, at most four levels down.

    Somebody's whole home may be given by mistake: the search ends after `MAX_FOLDERS`.
    """
    found, level, seen = [], [top], 0
    for _ in range(5):
        below = []
        for folder in level:
            seen += 1
            if seen > MAX_FOLDERS or (folder.is_symlink() and folder != top):
                continue
            if (folder / "plans.json").is_file() and (folder / "dataset.json").is_file() and _fold_folders(folder):
                found.append(folder)
            else:
                below += [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
        level = below
    return found


def _fold_folders(folder: Path) -> dict[str, Path]:
    found = {m.group(1): p for p in folder.iterdir() if (m := _FOLD.fullmatch(p.name)) and p.is_dir()}
    return dict(sorted(found.items(), key=lambda item: (item[0] == "all", int(item[0]) if item[0] != "all" else 0)))


def _only_model(top: Path, source: Path) -> Path:
    folders = _model_folders(top)
    if not folders:
        raise ModelError(
            f"{source} is no trained nnU-Net v2 model: dataset.json, plans.json and fold_0 (or more) were expected "
            "together in one folder, such as nnUNet_results/Dataset001_NAME/nnUNetTrainer__nnUNetPlans__3d_fullres."
        )
    if len(folders) > 1:
        listed = ", ".join(str(f.relative_to(top)) for f in folders[:12])
        raise ModelError(f"{source} holds {len(folders)} trained models: {listed}. Give the folder of one of them.")
    return folders[0]


def _read(path: Path, source: Path, folds: tuple[str, ...] | None, checkpoint: str | None) -> ModelFolder:
    names = (f"checkpoint_{checkpoint}.pth",) if checkpoint else CHECKPOINTS
    present = _fold_folders(path)
    chosen = folds or tuple(f for f in present if f != "all") or ("all",)
    checkpoints = []
    for fold in chosen:
        if fold not in present:
            raise ModelError(f"{source} has no fold {fold}; it has {', '.join(present)}.")
        file = next((present[fold] / n for n in names if (present[fold] / n).is_file()), None)
        if file is None and folds is None and len(chosen) > 1:
            continue  # A fold that was not trained to its end, beside others: nnU-Net leaves it out, too.
        if file is None:
            raise ModelError(f"{source}: fold_{fold} holds no {' or '.join(names)}; was it trained to its end?")
        checkpoints.append(file)
    if not checkpoints:
        raise ModelError(f"{source}: no fold holds {' or '.join(names)}. Was the model trained to its end?")
    if not folds and not checkpoint and len({c.name for c in checkpoints}) > 1:
        checkpoints = [c for c in checkpoints if c.name == CHECKPOINTS[0]]
    for file in (path / "dataset.json", path / "plans.json", *checkpoints):
        if file.is_symlink() or (file.parent != path and file.parent.is_symlink()):
            raise ModelError(f"{file} is a link; a model holds plain files only. It was refused.")
    licences: dict[str, bytes] = {}
    for folder in (path.parent, path):
        for file in sorted(folder.iterdir()) if folder == path or source.is_file() else []:
            plain = _LICENCE.fullmatch(file.name) and file.is_file() and not file.is_symlink()
            if plain and file.stat().st_size <= MAX_LICENCE_BYTES:
                licences[re.sub(r"[^A-Za-z0-9._-]", "_", file.name)] = file.read_bytes()
    return ModelFolder(path, _json(path / "dataset.json"), _json(path / "plans.json"), tuple(checkpoints), licences)


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path} has more than {MAX_JSON_BYTES} bytes, too many for such a file; it was refused.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} could not be read: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} must hold an object, got {content!r:.80}.")
    return content
