"""A page and what is signed beside it: every file of the three that is changed, missing or another's is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from govern.digests import canonical_json
from govern.errors import IntegrityError, UsageError
from govern.signing import SigningKey, Statement, sign, throwaway_key
from govern.signing.page import REPORT_FILES, check_page, identity, refuse_changed, sign_page
from govern.signing.statement import SignerIdentity

PAGES = {"report.html": b"<p>page", "report.md": b"page"}


class Claim(NamedTuple):
    signer: SignerIdentity


def statement_of(subjects: dict[str, str]) -> bytes:
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
            "predicateType": "urn:test",
            "predicate": {},
        }
    )


def lay(folder: Path, key: SigningKey) -> Path:
    for name, data in {**PAGES, **sign_page(PAGES, statement_of, key)}.items():
        (folder / name).write_bytes(data)
    return folder / "report.html"


def claims(key: SigningKey) -> Callable[[Statement], Claim]:
    return lambda _: Claim(identity(key))


@pytest.fixture
def key() -> SigningKey:
    return throwaway_key()


def test_what_is_laid_is_accepted_and_says_what_it_binds(tmp_path: Path, key: SigningKey) -> None:
    checked = check_page(lay(tmp_path, key), claims(key))
    assert checked.key.fingerprint == key.public.fingerprint
    assert checked.claim.signer.kind == "throwaway"
    for name, digest in checked.subjects.items():
        refuse_changed(tmp_path / name, name, digest)
    assert checked.subjects.keys() == PAGES.keys()


@pytest.mark.parametrize("name", REPORT_FILES)
def test_a_file_that_is_missing_or_changed_is_refused(tmp_path: Path, key: SigningKey, name: str) -> None:
    page = lay(tmp_path, key)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data.replace(b"a", b"b", 1))
    with pytest.raises(IntegrityError):
        check_page(page, claims(key))
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing"):
        check_page(page, claims(key))


def test_another_key_is_refused_although_its_signature_holds(tmp_path: Path, key: SigningKey) -> None:
    page, other = lay(tmp_path, key), throwaway_key()
    (tmp_path / REPORT_FILES.bundle).write_bytes(sign((tmp_path / REPORT_FILES.statement).read_bytes(), other))
    (tmp_path / REPORT_FILES.signer).write_bytes(other.public.pem)
    with pytest.raises(IntegrityError, match="another one signed it"):
        check_page(page, claims(key))


def test_a_page_that_is_not_spoken_of_and_one_that_was_changed(tmp_path: Path, key: SigningKey) -> None:
    page = lay(tmp_path, key)
    with pytest.raises(UsageError, match="does not speak of a file named other"):
        check_page(page.with_name("other.html"), claims(key))
    page.write_bytes(b"another page")
    with pytest.raises(IntegrityError, match=r"report\.html was changed after it was signed"):
        refuse_changed(page, page.name, check_page(page, claims(key)).subjects[page.name])
