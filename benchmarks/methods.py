"""Every method by its own recipe on one policy: what `govern compare` does within a budget, here without one.

    python benchmarks/methods.py policies/quickstart.yaml --methods npo ssd task_arithmetic
    python benchmarks/methods.py policies/bio_hazard.yaml --device cuda           # all methods, on a GPU

Each method has the settings that `docs/methods.md` lists, steps and learning rate included, and of the policy's removal
the dtype, batch and seed. The policy's own method keeps the policy's settings, and the others that steer take its
block, steps, learning rate and weight of the retain text. Each is applied and verified as a policy of its
own, a signed report with it, in a workspace of the benchmark. The certifying questions are asked once for each method,
so this is a comparison and no certificate of any of them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import yaml
from machine import describe

import govern
from govern.cli.console import shown_progress
from govern.errors import GovernError
from govern.policy import load_policy
from govern.progress import labelled
from govern.records import GateResult
from govern.workflow.sweeps.methods import base_settings, methods_named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path)
    parser.add_argument("--methods", nargs="+", help="names; all of them by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--out", type=Path, help="where policies and workspace stay")
    options = parser.parse_args()
    methods = methods_named(",".join(options.methods) if options.methods else "all")
    print(f"{options.policy}, {describe()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = (options.out or Path(folder)).absolute()
        policies = out / "policies"
        shutil.copytree(options.policy.absolute().parent, policies, dirs_exist_ok=True)
        given = (policies / options.policy.name).read_text(encoding="utf-8")
        for method in methods:
            try:
                row = tried(method, given, policies / options.policy.name, out / "audits", options)
            except GovernError as error:
                row = f"| {method} | {error.message} |"
            print(row, flush=True)


def tried(method: str, given: str, path: Path, workspace: Path, options: argparse.Namespace) -> str:
    """Apply and verify the policy with this method."""
    settings = base_settings(load_policy(path), method)
    values = yaml.safe_load(given)
    policy = path.with_name(f"{path.stem}-{method.replace('_', '-')}.yaml")
    values["removal"] = settings.model_dump(mode="json", exclude_none=True)
    policy.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    with shown_progress() as progress:
        told = labelled(progress, method)
        applied = govern.apply(policy, workspace=workspace, device=options.device, mirror=options.mirror, progress=told)
        verdict = govern.verify(
            applied.run.id, workspace=workspace, device=options.device, mirror=options.mirror, progress=told
        ).verdict
    gates = " | ".join(map(shown, verdict.gates))
    return f"| {method} | {gates} | {applied.removal.seconds:.0f} s | {verdict.verdict} |"


def shown(gate: GateResult) -> str:
    """A gate before and after, with the interval after."""
    if gate.metric == "perplexity":
        return f"{gate.task} {gate.before:.2f} → {gate.after:.2f}"
    low, high = gate.after_interval.low, gate.after_interval.high
    return f"{gate.task} {gate.before:.1%} → {gate.after:.1%} ({low:.0%}–{high:.0%})"


if __name__ == "__main__":
    main()
