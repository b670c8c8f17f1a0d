"""The map in docs/architecture.md is the one that the imports draw."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def arrows_between_stories() -> dict[str, set[str]]:
    """For each story or module of the base, what it imports of the others."""
    place, room = ROOT / "govern" / "workflow", "govern.workflow"
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(place.rglob("*.py")):
        own = path.relative_to(place).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{room}."):
                below = str(node.module).removeprefix(room).strip(".").split(".")[0]
                found[own] |= {below} if below else {name.name for name in node.names}
    return {own: others - {own} for own, others in found.items() if others - {own}}


def test_the_map_shows_every_arrow_and_they_are_few() -> None:
    arrows = arrows_between_stories()
    drawn = [f"    {own} → {', '.join(sorted(others))}" for own, others in sorted(arrows.items())]
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = page.partition("<!-- arrows of govern/workflow -->\n")[2].partition("<!-- end -->")[0]
    assert shown.splitlines() == drawn, "\n".join(["the arrows are now:", *drawn])
    assert sum(map(len, arrows.values())) <= 30
