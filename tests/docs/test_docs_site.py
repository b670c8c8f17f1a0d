"""The documentation builds strictly, with nothing from outside, and its generated pages follow the code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from govern.policy import json_schema

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a network: a proxy that nobody answers is in the way."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def pages(folder: Path) -> dict[str, etree._Element]:
    return {path.relative_to(folder).as_posix(): etree.HTML(path.read_bytes()) for path in folder.rglob("*.html")}


def test_no_page_loads_anything_from_elsewhere(built: Path) -> None:
    for name, page in pages(built).items():
        loaded = page.xpath("//script/@src | //img/@src | //iframe/@src | //link[@rel!='canonical']/@href")
        assert not [link for link in loaded if "//" in link], name
    for path in built.rglob("*.css"):
        assert "url(http" not in path.read_text().replace('"', "")


def test_every_page_of_the_docs_is_in_the_navigation(built: Path) -> None:
    linked = set(pages(built)["index.html"].xpath("//nav//a/@href"))
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert name in linked, name


def test_the_reference_has_every_command_and_every_field(built: Path) -> None:
    commands = "".join(pages(built)["reference/commands.html"].itertext())
    for told in ("govern report export [OPTIONS] [RUN]", "--sarif PATH", "GOVERN_WORKSPACE", "govern audit verify"):
        assert told in commands
    policies = "".join(pages(built)["reference/policies.html"].itertext())
    known = json_schema()
    for part in (known, *known["$defs"].values()):
        for field in part.get("properties", ()):
            assert field in policies
    python = "".join(pages(built)["reference/python.html"].itertext())
    assert "load_policy(path" in python
    assert "/verdict" not in python
    assert "certification" in "".join(pages(built)["reference/json.html"].itertext())


def test_links_out_of_the_docs_lead_to_pages_of_the_site(built: Path) -> None:
    (link,) = [
        href
        for href in pages(built)["how_to/reports_and_sites.html"].xpath("//article//a/@href")
        if "templates" in href
    ]
    assert (built / "how_to" / link).resolve().is_file()
