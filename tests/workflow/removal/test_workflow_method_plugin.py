"""An organisation's own method, from a distribution of its own: planned, applied, on the signed page, and gone."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy
from toy_distribution import install

import govern
from govern.errors import IntegrityError, PolicyErrors, UsageError
from govern.policy import load_policy
from govern.unlearning.registry import METHODS, bound_method, method_named
from govern.workflow.people.reports import check_report
from govern.workflow.publication.audit import audit
from govern.workflow.removal.reproduce import reproduce
from govern.workflow.runs import stored_plan

_CODE = '''
from typing import Literal

from pydantic import Field

from govern.models import read_tensors
from govern.unlearning.method import Method
from govern.unlearning.protocol import Edit
from govern.unlearning.settings import MethodSettings


class ShrinkSettings(MethodSettings):
    """Shrink some tensors."""

    method: Literal["shrink"] = Field(description="The removal method.")
    factor: float = Field(default=0.5, gt=0)
    tensors: tuple[str, ...] = ()


def shrink(request):
    base = read_tensors(request.model_path, request.settings.tensors)
    return Edit({name: tensor * request.settings.factor for name, tensor in base.items()}, ())


METHOD = Method("shrink", "weight", (ShrinkSettings,), run=shrink)
'''

_REMOVAL = "removal: {method: shrink, factor: 0.25, tensors: [model.layers.1.mlp.down_proj.weight]}\n"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "installed"
    install(folder, "acme-methods", {"acme_methods.py": _CODE}, {"govern.methods": {"shrink": "acme_methods:METHOD"}})
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("acme_methods", None)


def by_toy(policy: TinyPolicy, removal: str = _REMOVAL) -> TinyPolicy:
    text = policy.path.read_text()
    policy.path.write_text(text.replace(text[text.index("removal:") : text.index("tasks:")], removal))
    return policy


def test_it_is_run_to_a_signed_report_and_refused_once_it_is_gone(tiny_policy: TinyPolicy, toy: Path) -> None:
    policy = by_toy(tiny_policy)
    applied = govern.apply(policy.path, workspace=policy.workspace)
    assert applied.removal.method == "shrink"
    origin = stored_plan(applied.run).origin
    assert origin is not None
    assert (origin.distribution, origin.version) == ("acme-methods", "1.0")
    assert [round(change.relative_change, 3) for change in applied.removal.tensors] == [0.75]
    verified = govern.verify(workspace=policy.workspace)
    for page in ("report.html", "report.md"):
        text = verified.run.path(page).read_text()
        assert "own, but of the distribution" in text
        assert "acme-methods" in text
        assert origin.digest in text
    check_report(verified.run.path("report.html"), workspace=policy.workspace)
    assert reproduce(None, workspace=policy.workspace).result == "equal"

    shutil.rmtree(toy)
    importlib.invalidate_caches()
    with pytest.raises(PolicyErrors) as caught:
        load_policy(policy.path)
    assert "removal.method: expected srmu or rmu" in str(caught.value)
    assert "found the text 'shrink'" in str(caught.value)
    with pytest.raises(PolicyErrors, match="found the text 'shrink'"):
        govern.verify(workspace=policy.workspace)
    with pytest.raises(UsageError, match="there is no method 'shrink' here"):
        method_named("shrink")
    assert audit(policy.workspace).reports == 1


def test_other_code_under_the_same_name_and_version_is_not_the_plans(tiny_policy: TinyPolicy, toy: Path) -> None:
    policy = by_toy(tiny_policy)
    applied = govern.apply(policy.path, workspace=policy.workspace)
    (toy / "acme_methods.py").write_text(_CODE + "\n")
    with pytest.raises(IntegrityError, match=r"not the one of the plan: that one is of acme-methods 1\.0, sha256:"):
        reproduce(None, workspace=policy.workspace)
    assert bound_method("srmu", None) is METHODS["srmu"]
    with pytest.raises(IntegrityError, match="this is of govern itself"):
        bound_method("srmu", stored_plan(applied.run).origin)


@pytest.mark.parametrize(
    ("removal", "said"),
    [
        ("{method: shrink, factor: 0}", "removal.factor: expected a number above 0, found the number 0"),
        ("{method: shrink, loud: true}", "unknown key 'loud' in removal"),
        ('{method: shrink, factor: "2"}', "removal.factor: expected a number, found the text '2'"),
    ],
)
def test_its_settings_are_read_as_strictly_as_ours(tiny_policy: TinyPolicy, toy: Path, removal: str, said: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load_policy(by_toy(tiny_policy, f"removal: {removal}\n").path)
    assert said in str(caught.value)
    assert f"{tiny_policy.path}:" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("METHOD = dict\n", "is a type, not a govern.unlearning.method.Method"),
        (_CODE.replace('Method("shrink"', 'Method("other"'), "declares another name, 'other'"),
        (_CODE.replace(", run=shrink", ""), "declares neither `run` nor `steer`"),
        ("import no_such_module\n", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_place(tiny_policy: TinyPolicy, toy: Path, code: str, said: str) -> None:
    (toy / "acme_methods.py").write_text(code)
    with pytest.raises(PolicyErrors) as caught:
        load_policy(by_toy(tiny_policy).path)
    assert said in str(caught.value)
    assert "removal.method" in str(caught.value)


def test_none_of_ours_is_replaced(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "other"
    install(folder, "acme-npo", {"acme_npo.py": "raise OSError\n"}, {"govern.methods": {"npo": "acme_npo:METHOD"}})
    monkeypatch.syspath_prepend(str(folder))
    assert method_named("npo") is METHODS["npo"]
