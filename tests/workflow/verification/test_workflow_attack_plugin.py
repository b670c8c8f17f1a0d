"""An organisation's own attack, from a distribution of its own: in a policy, in the verdict, on the page, and gone."""

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
from govern.errors import GovernError, PolicyErrors
from govern.policy import load_policy
from govern.records import Verdict
from govern.stress.registry import STANDARD, plugin_of
from govern.workflow.people.reports import check_report
from govern.workflow.publication.audit import audit
from govern.workflow.verification.stress import origin_of

_CODE = '''
from typing import Literal

from pydantic import Field

from govern.stress.attack import Attack, Attempt


class Shouting(Attack):
    """Ask loudly."""

    title = "shout {times} times"

    attack: Literal["shout"] = Field(description="The attack.")
    times: int = Field(default=2, ge=1)
    marks: tuple[str, ...] = ("!",)

    def attempt(self, target, exam, progress):
        texts = [question.text.upper() + self.marks[0] * self.times for question in exam.asked]
        answers = exam.rephrased(exam.kind, texts).ask(target.load(), target.tokenizer, progress=progress)
        return Attempt(answers=answers, found={"times": self.times})
'''

_ENTRY = '{attack: shout, times: 3, marks: ["?"], questions: 8, max_recovery: 0.5}'


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "installed"
    install(folder, "acme-attacks", {"acme_attacks.py": _CODE}, {"govern.attacks": {"shout": "acme_attacks:Shouting"}})
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("acme_attacks", None)


def listed(policy: TinyPolicy, entry: str) -> TinyPolicy:
    policy.path.write_text(policy.path.read_text().rstrip() + f"\n  stress: [{entry}]\n")
    return policy


def test_it_is_run_to_a_signed_report_and_refused_once_it_is_gone(tiny_policy: TinyPolicy, toy: Path) -> None:
    policy = listed(tiny_policy, _ENTRY)
    govern.apply(policy.path, workspace=policy.workspace)
    verified = govern.verify(workspace=policy.workspace)
    (found,) = verified.verdict.stress
    assert (found.attack, found.name) == ("shout", "shout 3 times, marks ('?',)")
    assert found.parameters == {"questions": 8, "times": 3, "marks": ["?"]}
    assert found.found["edited"] == {"times": 3}
    assert found.origin is not None
    assert (found.origin.distribution, found.origin.version) == ("acme-attacks", "1.0")
    assert found.verdict == "inconclusive"
    stored = verified.run.read("verifications/001/verdict.json")
    assert Verdict.parse(stored) == verified.verdict
    for page in ("report.html", "report.md"):
        text = verified.run.path(page).read_text()
        assert "Not govern" in text
        assert "acme-attacks" in text
        assert found.origin.digest in text
    assert (
        check_report(verified.run.path("report.html"), workspace=policy.workspace).claim.attacks[0].name == found.name
    )

    shutil.rmtree(toy)
    importlib.invalidate_caches()
    with pytest.raises(PolicyErrors) as caught:
        load_policy(policy.path)
    assert "verification.stress[0]: there is no attack 'shout'" in str(caught.value)
    assert "One of another distribution is known where that is installed." in str(caught.value)
    assert f"{policy.path}:" in str(caught.value)
    with pytest.raises(GovernError, match="there is no attack 'shout'"):
        govern.verify(workspace=policy.workspace)
    assert audit(policy.workspace).reports == 1


def test_other_files_under_the_same_name_and_version_have_another_digest(tiny_policy: TinyPolicy, toy: Path) -> None:
    (attack,) = load_policy(listed(tiny_policy, _ENTRY).path).policy.verification.stress
    assert not isinstance(attack, str)
    before = origin_of(attack)
    (toy / "acme_attacks.py").write_text(_CODE.replace("upper()", "lower()"))
    after = origin_of(attack)
    assert before is not None
    assert after is not None
    assert before.digest != after.digest
    assert plugin_of("relearn") is None
    assert all(origin_of(ours) is None for ours in STANDARD)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{attack: shout, times: 0}", "stress[0].times: expected a number of at least 1, found the number 0"),
        ("{attack: shout, loud: true}", "unknown key 'loud' in verification.stress[0]"),
        ('{attack: shout, times: "2"}', "stress[0].times: expected a whole number, found the text '2'"),
    ],
)
def test_its_settings_are_read_as_strictly_as_ours(tiny_policy: TinyPolicy, toy: Path, entry: str, said: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load_policy(listed(tiny_policy, entry).path)
    assert said in str(caught.value)


def test_what_is_no_attack_is_refused_at_its_place(
    tiny_policy: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wrong"
    install(
        folder,
        "acme-wrong",
        {"acme_wrong.py": "Shouting = dict\n"},
        {"govern.attacks": {"shout": "acme_wrong:Shouting"}},
    )
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(PolicyErrors, match=r"is no subclass of govern\.stress\.attack\.Attack"):
        load_policy(listed(tiny_policy, "{attack: shout}").path)
