"""`verification.dtype`: what the models compute in while they answer."""

from tiny_policy import TinyPolicy

import govern


def test_it_changes_the_answers_and_both_verdict_and_report_say_so(tiny_policy: TinyPolicy) -> None:
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    usual = govern.verify(workspace=tiny_policy.workspace)
    tiny_policy.replace("verification:", "verification:\n  dtype: bfloat16")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    short = govern.verify(workspace=tiny_policy.workspace)

    assert usual.verdict.dtype == "float32"
    assert "dtype" not in usual.verdict.to_json()  # a verdict of before this setting keeps its bytes
    assert short.verdict.to_json()["dtype"] == "bfloat16"
    assert "evaluated in bfloat16" in short.issued.path.read_text()
    assert usual.verdict.delta_sha256 == short.verdict.delta_sha256

    perplexities = [found.verdict.gates[-1].after for found in (usual, short)]
    assert perplexities[0] != perplexities[1]
