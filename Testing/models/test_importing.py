"""Imports are whole or not at all, and nothing in them is trusted."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from KidneySegLib.errors import Cancelled, ModelError
from KidneySegLib.models import find_bundle, import_bundle, importing, read_bundle, verify_bundle
from KidneySegLib.progress import CancelToken, Progress


def zipped(folder: Path, target: Path, top: str = "analytic/", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", compression) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, top + file.name)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["folder", "zip", "zip_with_top"])
def test_a_bundle_comes_in_whole(folder: Path, home: Path, tmp_path: Path, kind: str) -> None:
    (folder / "notes.txt").write_text("not listed in the manifest, so not copied")
    source = folder if kind == "folder" else zipped(folder, tmp_path / "b.zip", "top/" if "top" in kind else "")
    bundle = import_bundle(source)
    assert bundle.path == home / "analytic"
    verify_bundle(bundle)
    assert bundle.digest == read_bundle(folder).digest
    assert find_bundle("analytic") == bundle
    assert set(contents(home)) == {f"analytic/{n}" for n in ("model.json", *bundle.sha256)}


def test_another_name_is_written_into_it(folder: Path, home: Path) -> None:
    bundle = import_bundle(str(folder), name="renamed")
    assert (bundle.name, bundle.path) == ("renamed", home / "renamed")
    assert bundle.digest == read_bundle(folder).digest
    with pytest.raises(ModelError, match="must be letters"):
        import_bundle(folder, name="a/b")


def test_a_name_is_taken_only_with_replace(folder: Path, home: Path, embedded: Path) -> None:
    import_bundle(folder)
    with pytest.raises(ModelError, match="exists already"):
        import_bundle(folder)
    (home / "analytic" / "old").write_text("gone after replacing")
    import_bundle(folder, replace=True)
    assert not (home / "analytic" / "old").exists()
    shutil.copytree(folder, embedded / "shipped")
    with pytest.raises(ModelError, match="exists already"):
        import_bundle(folder, name="shipped")
    import_bundle(folder, name="shipped", replace=True)
    assert find_bundle("shipped").path == home / "shipped"


def test_a_failed_replacement_leaves_the_old_one(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_bundle(folder)
    before = contents(home)
    renamed = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.parent.name.startswith(".import-") and self.name == "analytic":
            raise OSError("disk gone")
        return renamed(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ModelError, match="disk gone"):
        import_bundle(folder, replace=True)
    assert contents(home) == before


def test_a_damaged_file_is_refused_and_nothing_stays(folder: Path, home: Path) -> None:
    (folder / "network.bin").write_bytes(b"something else")
    with pytest.raises(ModelError, match="damaged or was changed"):
        import_bundle(folder)
    assert list(home.iterdir()) == []


def test_cancelling_leaves_nothing(folder: Path, home: Path) -> None:
    token = CancelToken()
    events = []

    def listener(event) -> None:
        events.append(event)
        if len(events) == 2:
            token.cancel()

    with pytest.raises(Cancelled):
        import_bundle(folder, progress=Progress(listener, token))
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "analytic/../../evil", "C:evil", "a\\..\\evil"])
def test_names_that_lead_out_of_a_zip_are_refused(folder: Path, home: Path, tmp_path: Path, name: str) -> None:
    source = zipped(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(name, "boo")
    with pytest.raises(ModelError, match="leads out of its folder"):
        import_bundle(source)
    assert not home.exists()


def test_a_link_in_a_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    source = zipped(folder, tmp_path / "b.zip")
    link = zipfile.ZipInfo("analytic/passwords")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="link or special file"):
        import_bundle(source)


def test_a_link_in_a_folder_is_refused(folder: Path, home: Path, tmp_path: Path) -> None:
    (folder / "network.bin").rename(tmp_path / "elsewhere.bin")
    (folder / "network.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(ModelError, match="is a link"):
        import_bundle(folder)
    assert list(home.iterdir()) == []


def test_bombs_are_refused(folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = zipped(folder, tmp_path / "b.zip")
    monkeypatch.setattr(importing, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ModelError, match="more than any model"):
        import_bundle(source)
    # From a folder too, where only the bytes themselves tell.
    with pytest.raises(ModelError, match="more than any model"):
        import_bundle(folder)
    assert list(home.iterdir()) == []
    monkeypatch.setattr(importing, "MAX_ZIP_MEMBERS", 3)
    with pytest.raises(ModelError, match="holds 4 files"):
        import_bundle(source)


def test_a_manifest_that_never_ends_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.json").write_bytes(b" " * (5 * 1024 * 1024))
    for source in (folder, zipped(folder, tmp_path / "b.zip")):
        with pytest.raises(ModelError, match="is longer than"):
            import_bundle(source)


@pytest.mark.parametrize("missing", ["model.json", "network.xml"])
@pytest.mark.parametrize("as_zip", [True, False])
def test_incomplete_bundles_are_refused(folder: Path, tmp_path: Path, missing: str, as_zip: bool) -> None:
    (folder / missing).unlink()
    source = zipped(folder, tmp_path / "b.zip") if as_zip else folder
    with pytest.raises(ModelError, match="not a model bundle" if missing == "model.json" else "is incomplete"):
        import_bundle(source)


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is none"):
        import_bundle(tmp_path / "nothing")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ModelError, match="neither a folder nor a zip"):
        import_bundle(tmp_path / "text.zip")


def test_a_truncated_zip_is_refused(folder: Path, home: Path, tmp_path: Path) -> None:
    source = zipped(folder, tmp_path / "b.zip", compression=zipfile.ZIP_STORED)
    data = bytearray(source.read_bytes())
    data[300:500] = bytes(200)
    source.write_bytes(data)
    with pytest.raises(ModelError):
        import_bundle(source)
    assert not home.exists() or list(home.iterdir()) == []


def test_two_manifests_are_one_too_many(folder: Path, tmp_path: Path) -> None:
    source = zipped(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(source, "a") as archive:
        archive.write(folder / "model.json", "other/model.json")
    with pytest.raises(ModelError, match="2 were found"):
        import_bundle(source)
