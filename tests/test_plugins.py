"""What other distributions offer: found by name, bound by a digest, and refused in words where it cannot be."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_distribution import install

from govern.errors import UsageError
from govern.plugins import discovered

GROUP = "govern.toys"


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a distribution of one module into a folder of the path, and says where."""
    for module in [name for name in sys.modules if name.startswith("toy_")]:
        monkeypatch.delitem(sys.modules, module)

    def installed(name: str, code: str, *, entry: str = "toy", place: str = "site") -> Path:
        folder = tmp_path / place
        module = name.replace("-", "_")
        install(folder, name, {f"{module}.py": code}, {GROUP: {entry: f"{module}:TOY"}})
        if str(folder) not in sys.path:
            monkeypatch.syspath_prepend(str(folder))
        return folder

    return installed


def test_a_plugin_is_found_by_name_loaded_and_bound_by_its_files(offer: Callable[..., Path]) -> None:
    folder = offer("toy-one", "TOY = 7\n")
    found = discovered(GROUP)["toy"]
    assert (found.name, found.distribution, found.version) == ("toy", "toy-one", "1.0")
    assert found.load() == 7
    assert found.digest == "3ff7bbe539a9fc8fd5f478908c470115b6c25b3f2bfaaa91d33dd29477f38441"
    (folder / "toy_one.py").write_text("TOY = 8\n")
    assert discovered(GROUP)["toy"].digest != found.digest
    assert discovered("govern.other toys") == {}


def test_bytecode_and_what_an_installer_writes_leave_the_digest(offer: Callable[..., Path]) -> None:
    folder = offer("toy-one", "TOY = 7\n")
    before = discovered(GROUP)["toy"].digest
    info = folder / "toy_one-1.0.dist-info"
    for name in ("INSTALLER", "REQUESTED", "direct_url.json"):
        (info / name).write_text("another machine")
    with (info / "RECORD").open("a") as record:
        record.write("".join(f"{info.name}/{name},,\n" for name in ("INSTALLER", "REQUESTED", "direct_url.json")))
        record.write("__pycache__/toy_one.cpython-311.pyc,,\n../../bin/toy,,\n")
    assert discovered(GROUP)["toy"].digest == before


def test_two_distributions_of_one_name_are_refused_where_it_is_used(offer: Callable[..., Path]) -> None:
    offer("toy-one", "TOY = 7\n")
    offer("toy-two", "TOY = 8\n", place="other")
    found = discovered(GROUP)["toy"]
    for use in (found.load, lambda: found.digest):
        with pytest.raises(
            UsageError, match=r"'toy' of the distribution toy-(one|two) 1\.0 is offered by toy-(one|two)"
        ):
            use()


def test_what_cannot_be_imported_is_said_with_its_distribution(offer: Callable[..., Path]) -> None:
    offer("toy-broken", "raise OSError('no such disk')\n")
    with pytest.raises(UsageError, match=r"toy-broken 1\.0 cannot be imported: OSError: no such disk"):
        discovered(GROUP)["toy"].load()


def test_code_outside_the_distributions_files_is_refused(
    offer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("toy-one", "TOY = 7\n")
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "toy_one.py").write_text("TOY = 9\n")
    monkeypatch.syspath_prepend(str(shadow))
    with pytest.raises(UsageError, match="which is none of the distribution's own files"):
        discovered(GROUP)["toy"].load()


def test_a_file_that_is_gone_and_a_record_without_code_are_refused(offer: Callable[..., Path]) -> None:
    folder = offer("toy-one", "TOY = 7\n")
    (folder / "toy_one.py").unlink()
    with pytest.raises(UsageError, match="lacks toy_one"):
        _ = discovered(GROUP)["toy"].digest
    (folder / "toy_one-1.0.dist-info" / "RECORD").write_text("")
    with pytest.raises(UsageError, match="no code that the distribution's RECORD lists"):
        _ = discovered(GROUP)["toy"].digest
