"""The pictures of docs/images: what `govern site` wrote, at 360 and 1024 CSS pixels and on A4 paper.

govern site --out site
python tests/screenshots.py site docs/images
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from devtools import Tab, browser

# Name, width, height that is kept, media. 794 × 1123 CSS pixels are one page of A4.
SIZES = (("360", 360, 1600, "screen"), ("1024", 1024, 1300, "screen"), ("print", 794, 1123, "print"))


def main(site: Path, out: Path) -> None:
    """Take every picture. `site` has at least two runs of one policy."""
    newest = sorted((site / "runs").iterdir())[-1]
    pages = {
        "report": newest / "report.html",
        "site": site / "index.html",
        "site-run": newest / "index.html",
        "site-compare": sorted((site / "compare").iterdir())[-1],
    }
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        for name, page in pages.items():
            for label, width, height, media in SIZES:
                _take(tab, page, out / f"{name}-{label}.png", width, height, media)


def _take(tab: Tab, page: Path, out: Path, width: int, height: int, media: str) -> None:
    tab.open(page, width=width, media=media)
    out.write_bytes(tab.picture(height=height))
    print(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
