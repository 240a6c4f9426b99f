#!/usr/bin/env python3
"""Open the panels of released extensions on the host, each in its own process.

usage: python Testing/slicer_host/oracles/load_panels.py --base-python CHECKOUT/Base/Python MODULE.py [MODULE.py ...]

For each module: load it, set up its panel, enter it, close the scene, leave it, unload it. Prints what failed and
exits with
the number of panels that did. Set SLICER_HOST_API to an untrimmed API manifest: other modules use more classes than
ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def open_panel(path: Path, base_python: Path | None, picture: Path | None) -> None:
    from slicer_host import install
    from slicer_host.dialogs import reject

    host = install(base_python=base_python)
    import numpy as np
    import slicer

    slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), dtype=np.int16), name="CT")
    with host.dialogs.answered_by(reject):
        host.load_module(path)
        panel = host.open_panel(path.stem)
        host.process_events()
    if picture is not None:
        from slicer_host.pictures import picture_of

        picture_of(slicer.modules.__dict__[path.stem.lower()].widgetRepresentation(), picture)
    host.clear_scene()
    host.leave_panel(path.stem)
    host.unload_module(path.stem)
    if host.errors:
        raise SystemExit(f"{len(host.errors)} exceptions in slots or observers, first: {host.errors[0]!r}")
    print(f"panel of {path.stem}: {type(panel).__name__}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-python", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each panel")
    parser.add_argument(
        "--path",
        type=Path,
        action="append",
        default=[],
        help="folder that the modules import from, e.g. of Slicer's SampleData module",
    )
    parser.add_argument("modules", nargs="+", type=Path)
    arguments = parser.parse_args()
    sys.path += [str(folder) for folder in arguments.path]
    if len(arguments.modules) == 1:
        picture = arguments.pictures / f"{arguments.modules[0].stem}.png" if arguments.pictures else None
        open_panel(arguments.modules[0], arguments.base_python, picture)
        return 0
    options = ["--base-python", str(arguments.base_python)] if arguments.base_python else []
    options += ["--pictures", str(arguments.pictures)] if arguments.pictures else []
    options += [part for folder in arguments.path for part in ("--path", str(folder))]
    failed = 0
    for module in arguments.modules:
        run = subprocess.run(
            [sys.executable, __file__, *options, str(module)], capture_output=True, text=True, check=False, timeout=60
        )
        failed += run.returncode != 0
        last = (run.stdout if run.returncode == 0 else run.stderr).strip().splitlines()
        print(f"{'ok    ' if run.returncode == 0 else 'FAILED'} {module.stem}: {last[-1] if last else run.returncode}")
    print(f"{len(arguments.modules) - failed} of {len(arguments.modules)} panels open")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
