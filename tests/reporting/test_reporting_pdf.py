"""The report as PDF, by a real Chromium, and what is said where there is none or it fails."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from devtools import CHROMIUM
from reporting_records import full_arguments, view_of
from test_reporting_render import hostile_view

from govern.errors import GovernError, UsageError
from govern.reporting.exports.pdf import find_chromium, pdf
from govern.reporting.render import render_html

ISSUED = "2026-11-24T10:18:42.120345Z"


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def chromium(tmp_path: Path) -> Path:
    """The installed Chromium; for root, whom its sandbox refuses, a wrapper such as a user could name."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    return program(tmp_path / "own", f'exec {CHROMIUM} --no-sandbox "$@"') if os.geteuid() == 0 else Path(CHROMIUM)


def text_of(data: bytes, folder: Path) -> str:
    if not shutil.which("pdftotext"):
        pytest.skip("needs pdftotext (poppler-utils) to read the page back")
    (folder / "read.pdf").write_bytes(data)
    return subprocess.run(
        ["pdftotext", "-layout", str(folder / "read.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.browser
@pytest.mark.slow
def test_a_whole_report_is_printed_twice_alike(chromium: Path, tmp_path: Path) -> None:
    html = render_html(view_of(**full_arguments())).data
    first = pdf(html, chromium, issued=ISSUED)
    time.sleep(1.1)  # so that the clock would show
    assert pdf(html, chromium, issued=ISSUED) == first
    assert set(re.findall(rb"/(?:Creation|Mod)Date \(D:(\d+)", first)) == {b"20261124101842"}
    for said in (b"/MarkInfo", b"/Outlines", b"/Lang (en"):
        assert said in first
    assert 10 <= len(re.findall(rb"/Type\s*/Page\b", first)) <= 26
    assert b"/JavaScript" not in first
    assert b"/URI" not in first


@pytest.mark.browser
def test_what_is_printed_is_the_report(chromium: Path, tmp_path: Path) -> None:
    text = text_of(pdf(render_html(view_of(**full_arguments())).data, chromium, issued=ISSUED), tmp_path)
    for said in ("1 of 7 gates failed", "97.2", "Not answered here", "The safety desk takes", "relearn related"):
        assert said in text


@pytest.mark.browser
def test_hostile_text_is_only_text_on_paper(chromium: Path, tmp_path: Path) -> None:
    hostile = "<script>document.title=1</script><img src=http://192.0.2.1/x> \x1b[31m {{ 7*7 }}"
    data = pdf(render_html(hostile_view(hostile)).data, chromium, issued=ISSUED)
    assert b"/URI" not in data
    assert b"\x1b" not in re.sub(rb"stream.*?endstream", b"", data, flags=re.DOTALL)
    assert "{{ 7*7 }}" in text_of(data, tmp_path)


def test_without_a_browser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOVERN_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="none on PATH") as caught:
        find_chromium()
    assert "apt install chromium" in str(caught.value.hint)
    program(tmp_path / "google-chrome", "exit 0")
    assert find_chromium() == tmp_path / "google-chrome"
    monkeypatch.setenv("GOVERN_CHROMIUM", "elsewhere")
    with pytest.raises(UsageError, match="there is no program 'elsewhere'"):
        find_chromium()


@pytest.mark.parametrize(
    ("script", "said", "hint"),
    [
        ("exit 1", "it said nothing", "govern report open"),
        ("echo 'FATAL: No usable sandbox!' >&2; exit 1", "No usable sandbox", "does not turn the sandbox off"),
        (
            'for given; do case $given in --print-to-pdf=*) echo not a page > "${given#*=}";; esac; done',
            "it said nothing",
            "govern report open",
        ),
    ],
)
def test_a_browser_that_prints_nothing(script: str, said: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(GovernError, match=said) as caught:
        pdf(b"<!doctype html>", program(tmp_path / "browser", script), issued=ISSUED)
    assert hint in str(caught.value.hint)


def test_a_browser_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    hanging = program(tmp_path / "browser", f"sleep 300 & echo $! > {child}; wait")
    with pytest.raises(GovernError, match="did not finish"):
        pdf(b"<!doctype html>", hanging, issued=ISSUED, seconds=1)
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    for _ in range(50):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("a child of the browser lives on")


def test_the_browser_gets_no_network_and_keeps_its_sandbox(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"""
    printf '%s\\n' "$@" > {seen}
    for argument; do case $argument in --print-to-pdf=*) printf '%%PDF-1.4' > "${{argument#*=}}";; esac; done
    """
    assert pdf(b"<!doctype html>", program(tmp_path / "browser", script), issued=ISSUED) == b"%PDF-1.4"
    given = seen.read_text().splitlines()
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in given
    assert not [argument for argument in given if "sandbox" in argument or "web-security" in argument]
    profile = next(argument for argument in given if argument.startswith("--user-data-dir="))
    assert not Path(profile.partition("=")[2]).parent.exists()
