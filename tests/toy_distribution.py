"""Installs a distribution into a folder as an installer would: the files, its metadata and its RECORD; no network."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path,
    name: str,
    files: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    *,
    version: str = "1.0",
) -> Path:
    """Put `files` (path: text) and entry points (group: {name: "module:object"}) there; the dist-info folder."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    groups = [
        "\n".join([f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items()), ""])
        for group, entries in entry_points.items()
    ]
    written = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/entry_points.txt": "\n".join(groups),
    }
    record = []
    for path, text in written.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}\n")
    (folder / info / "RECORD").write_text("".join([*record, f"{info}/RECORD,,\n"]))
    return folder / info
