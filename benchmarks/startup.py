"""How long light commands take from the shell, on a workspace with one verified run: the median of several.

    python benchmarks/startup.py                    # a tiny workspace of its own
    python benchmarks/startup.py --workspace audits # one of yours; only reading commands touch it

Each command is a new process. Processor seconds stand beside the clock, as other work on the machine adds to the clock
alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"--help": 0.25}
COMMANDS = [
    "--help",
    "status",
    "compare RUN RUN",
    "report open --print",
    "report verify REPORT",
    "report export RUN --format json --out OUT/report.json",
    "report export RUN --format cyclonedx --out OUT/report.cdx.json",
    "site --out OUT/site",
    "audit log",
    "audit verify",
    "keys generate --out OUT/new.pem",
    "policy validate POLICY",
    "init OUT/new",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, help="a workspace with a verified run")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        workspace = options.workspace or tiny_workspace(folder)
        report = max((workspace / "runs").glob("*/report.html"))
        places = {
            "RUN": report.parent.name,
            "REPORT": str(report),
            "POLICY": str(report.with_name("policy.yaml") if options.workspace else folder / "policies" / "tiny.yaml"),
        }
        print("| command | seconds | processor seconds | at most |\n|---|---|---|---|")
        for line in COMMANDS:
            taken = []
            for number in range(options.times + 1):  # the first warms the file cache
                out = folder / f"out-{number}"
                out.mkdir(exist_ok=True)
                words = [word.replace("OUT", str(out)) for word in (places.get(word, word) for word in line.split())]
                taken.append(timed(words, workspace))
            clock, processor = (statistics.median(each) for each in zip(*taken[1:], strict=True))
            shown = line.replace(" OUT/", " ").replace("OUT/", "")
            print(f"| `govern {shown}` | {clock:.2f} | {processor:.2f} | {LIMITS.get(line, 0.6):.2f} |")
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")


def tiny_workspace(folder: Path) -> Path:
    """A workspace where the tests' tiny policy was applied and verified."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "workflow")]
    from tiny_models import save_tiny_model
    from tiny_policy import lay

    import govern

    policy = lay(folder, save_tiny_model("llama", folder / "model"))
    govern.apply(policy.path, workspace=policy.workspace)
    govern.verify(workspace=policy.workspace)
    return policy.workspace


def timed(words: list[str], workspace: Path) -> tuple[float, float]:
    """Seconds on the clock and of the processor that a command took."""
    environment = {**os.environ, "GOVERN_WORKSPACE": str(workspace), "GOVERN_KEY_PASSWORD": "password"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "govern", *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
