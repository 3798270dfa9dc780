"""Packages that look as if they were installed."""

from pathlib import Path


def leave_package(folder: Path, name: str, version: str) -> None:
    """What Python knows of an installed package, once the folder is in its path."""
    known = folder / f"{name}-{version}.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
