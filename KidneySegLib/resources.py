"""The only place that finds the Resources folder and the user's own folder."""

from __future__ import annotations

import os
from pathlib import Path

from KidneySegLib.errors import KidneySegError


def resources_dir() -> Path:
    """The folder ``Resources``: beside the package (checkout, Slicer install), else inside the wheel.

    Raises:
        KidneySegError: if neither exists, as after an incomplete copy.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package.parent / "Resources", package / "Resources"):
        if (candidate / "models").is_dir():
            return candidate
    raise KidneySegError(
        f"The folder Resources was expected beside or inside {package}, but is in neither place. "
        "Install KidneySeg again, or copy the whole folder."
    )


def embedded_models_dir() -> Path:
    """Where the bundles that ship with the program lie."""
    return resources_dir() / "models"


def user_dir() -> Path:
    """The user's own folder: ``$KIDNEYSEG_HOME``, else the platform's user data folder. It may not exist yet."""
    home = os.environ.get("KIDNEYSEG_HOME")
    if home:
        return Path(home).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("KidneySeg", appauthor=False))


def user_models_dir() -> Path:
    """Where the user's own bundles are stored. It may not exist yet."""
    return user_dir() / "models"
