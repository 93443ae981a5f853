"""What a release is made of: `python -m tools.parts REQUIREMENTS FOLDER` writes parts.cdx.json (CycloneDX 1.6), with the hashes
of REQUIREMENTS, and licences.txt with the texts that the packages installed here bring."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

LICENCE_FILES = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)


def locked(requirements: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and SHA-256 hashes of each package."""
    found: dict[str, tuple[str, list[str]]] = {}
    for part in re.split(r"\n(?=\w)", requirements.read_text("utf-8")):  # further lines of one are indented
        if named := re.match(r"([\w.-]+)==(\S+)", part):
            found[named[1]] = named[2], re.findall(r"sha256:([0-9a-f]{64})", part)
    return found


def licence(package: Distribution) -> str:
    """What it says of itself, in a line."""
    about = package.metadata.json
    said = str(about.get("license_expression") or about.get("license") or "")
    classed = [line.rpartition(" :: ")[2] for line in about.get("classifier", []) if line.startswith("License ::")]
    return said if said and "\n" not in said else ", ".join(classed) or said.strip().partition("\n")[0] or "not said"


def texts(package: Distribution) -> list[str]:
    """The licences that lie in it."""
    files = [file for file in package.files or [] if LICENCE_FILES.search(file.name) and "dist-info" in str(file)]
    return [file.locate().read_bytes().decode("utf-8", "replace") for file in files]  # type: ignore[attr-defined]


def component(name: str, version: str, hashes: list[str], package: Distribution | None) -> dict[str, Any]:
    """Of the list; its licence where it is installed here."""
    return {
        "type": "library", "name": name, "version": version, "bom-ref": f"pkg:pypi/{name}@{version}",
        "purl": f"pkg:pypi/{name}@{version}",
        "licenses": [{"license": {"name": licence(package)}}] if package else [],
        "properties": [{"name": "puppetcast:file-sha256", "value": each} for each in hashes],
    }  # fmt: skip


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:  # of another system
        return None


def main(requirements: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    packages = {name: (*about, installed(name)) for name, about in locked(requirements).items()}
    parts = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {"type": "application", "name": "puppetcast", "version": version("puppetcast")}},
        "components": [component(name, *about) for name, about in packages.items()],
    }  # fmt: skip
    (folder / "parts.cdx.json").write_text(json.dumps(parts, indent=1) + "\n", "utf-8")
    told = [
        "\n".join([f"{'=' * 20} {name} {number}: {licence(package)}", *texts(package)])
        for name, (number, _, package) in packages.items()
        if package
    ]
    (folder / "licences.txt").write_text("\n\n".join(told) + "\n", "utf-8")
    print(f"{len(packages)} parts, {len(told)} licences: {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
