"""Every event names the trust document that was in force when it was written."""

from __future__ import annotations

import hashlib
from pathlib import Path

from govern.audit import Log


def test_an_event_names_the_trust_document_of_its_own_moment(tmp_path: Path) -> None:
    document = tmp_path / "trust.yaml"
    with Log.open(tmp_path / "audit.db", trust=document) as log:
        assert log.append("key.generated").event.trust is None
        for content in (b"first", b"second"):
            document.write_bytes(content)
            assert log.append("key.generated").event.trust == hashlib.sha256(content).hexdigest()
        assert log.verify().size == 4
