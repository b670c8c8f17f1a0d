"""What reads and shows a run loads no library that computes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import govern.workflow.publication as publication

HEAVY = {"torch", "transformers", "torchao", "datasets", "lm_eval", "numpy", "scipy"}


def test_publication_loads_nothing_heavy() -> None:
    names = [path.stem for path in sorted(Path(publication.__path__[0]).glob("[a-z]*.py"))]
    code = (
        "import sys; from importlib import import_module; from govern.reporting.exports import EXPORTS, load_export\n"
        f"for name in {names}: import_module(f'govern.workflow.publication.{{name}}')\n"
        "for name in EXPORTS: load_export(name)\n"
        f"print(*sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
    assert len(names) >= 8
