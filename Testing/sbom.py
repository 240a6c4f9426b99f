"""``make sbom``: what a wheel of this program brings along, with versions, licences and hashes, as CycloneDX JSON.

Read from the metadata of the packages that are installed: nothing is asked of any network. Packages of an extra
that is not installed are not in it; the list says which extras it covers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
ROOT = "kidneyseg"


def sbom(root: str = ROOT, extras: tuple[str, ...] = ()) -> dict[str, Any]:
    """The bill of materials of an installed package, with the dependencies of some extras.

    Raises:
        PackageNotFoundError: the package itself is not installed.
    """
    found = _closure(root, extras)
    own = found.pop(_normal(root))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": _component(own, "application"),
            "properties": [{"name": "extras", "value": ",".join(extras) or "none"}],
        },
        "components": [_component(found[name], "library") for name in sorted(found)],
    }


def unlicensed(bill: dict[str, Any]) -> list[str]:
    """Components that do not say under which licence they come."""
    return [one["name"] for one in bill["components"] if not one.get("licenses")]


def _closure(root: str, extras: tuple[str, ...]) -> dict[str, Distribution]:
    """A package and all that it needs here, by normalised name."""
    from packaging.requirements import Requirement

    installed = {_normal(one.metadata["Name"]): one for one in distributions() if one.metadata["Name"]}
    found = {_normal(root): distribution(root)}
    waiting = [(found[_normal(root)], extras)]
    while waiting:
        package, wanted = waiting.pop()
        for text in package.requires or ():
            requirement = Requirement(text)
            environments = [{"extra": extra} for extra in ("", *wanted)]
            if requirement.marker is not None and not any(map(requirement.marker.evaluate, environments)):
                continue
            name = _normal(requirement.name)
            if name in installed and name not in found:
                found[name] = installed[name]
                waiting.append((installed[name], tuple(requirement.extras)))
    return found


def _component(package: Distribution, kind: str) -> dict[str, Any]:
    name, version = package.metadata["Name"], package.version
    licence = _licence(package)
    component: dict[str, Any] = {
        "type": kind,
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{_normal(name)}@{version}",
        "bom-ref": f"{_normal(name)}@{version}",
    }
    if licence:
        component["licenses"] = [{"license": {"name": licence}}]
    record = package.read_text("RECORD")
    if record:
        # The record lists the hash of every file, so its own hash stands for the whole package as installed.
        component["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(record.encode()).hexdigest()}]
    return component


def _licence(package: Distribution) -> str:
    """SPDX expression where given, else the classifier, else the first line of the licence field."""
    metadata = package.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        text.rpartition("::")[2].strip()
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::") and text != "License :: OSI Approved"
    ]
    if classifiers:
        return " AND ".join(classifiers)
    lines = [line.strip() for line in (metadata.get("License") or "").splitlines() if line.strip()]
    return lines[0][:100] if lines else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", default="gpu,train,cohort", help="comma separated (default: all for users)")
    parser.add_argument("--output", type=Path, default=TOP / "sbom.json")
    options = parser.parse_args()
    bill = sbom(extras=tuple(filter(None, options.extras.split(","))))
    options.output.write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    missing = unlicensed(bill)
    print(
        f"{options.output}: {len(bill['components'])} packages" + (f"; no licence given: {missing}" if missing else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
