"""A signed page: beside it lie a statement over its digest, the signature over that, and the signer's public key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError, UsageError
from govern.signing.bundle import sign, verify
from govern.signing.keys import PublicKey, SigningKey, load_public
from govern.signing.statement import SignerIdentity, Statement, parse_statement


class PageFiles(NamedTuple):
    """What the files beside a page are called."""

    statement: str
    bundle: str
    signer: str


REPORT_FILES: Final = PageFiles("statement.json", "report.sigstore.json", "signer.pub")


class _Claim(Protocol):
    @property
    def signer(self) -> SignerIdentity: ...


ClaimT = TypeVar("ClaimT", bound=_Claim)


@dataclass(frozen=True)
class CheckedPage(Generic[ClaimT]):
    """What the signature beside a page says: its claim, the SHA-256 of each file that it binds, and whose it is.

    `statement` is the SHA-256 of the statement itself.
    """

    claim: ClaimT
    statement: str
    subjects: dict[str, str]
    key: PublicKey


def identity(key: SigningKey) -> SignerIdentity:
    """How a statement names its signer."""
    return SignerIdentity(fingerprint=key.public.fingerprint, kind="throwaway" if key.throwaway else "kept")


def sign_page(
    pages: Mapping[str, bytes],
    statement_of: Callable[[dict[str, str]], bytes],
    key: SigningKey,
    names: PageFiles = REPORT_FILES,
) -> dict[str, bytes]:
    """The files beside `pages`; `statement_of` makes the statement from the pages' SHA-256 by name."""
    statement = statement_of({name: sha256_bytes(data) for name, data in pages.items()})
    return dict(zip(names, (statement, sign(statement, key), key.public.pem), strict=True))


def check_page(
    page: Path, claim_of: Callable[[Statement], ClaimT], names: PageFiles = REPORT_FILES
) -> CheckedPage[ClaimT]:
    """Check the signature beside a page, and that its statement, read by `claim_of`, names its signer and the page.

    The page itself and what else is bound the caller compares (`refuse_changed`). Raises IntegrityError, and UsageError
    where the statement speaks of other files.
    """
    statement, bundle, signer = (_read(page.parent / name) for name in names)
    key = load_public(signer)
    if verify(bundle, key) != statement:
        raise IntegrityError("the statement is not the one that was signed", where=str(page.parent / names.statement))
    parsed = parse_statement(statement)
    claim = claim_of(parsed)
    if claim.signer.fingerprint != key.fingerprint:
        raise IntegrityError(
            f"the statement names key sha256:{claim.signer.fingerprint} as its signer, and another one signed it",
            where=str(page.parent / names.bundle),
        )
    subjects = {subject.name: subject.digests.sha256 for subject in parsed.subject}
    if page.name not in subjects:
        raise UsageError(
            f"the signed statement does not speak of a file named {page.name}",
            where=str(page),
            hint=f"It speaks of {', '.join(subjects)}.",
        )
    return CheckedPage(claim, sha256_bytes(statement), subjects, key)


def refuse_changed(path: Path, name: str, expected: str) -> None:
    """Raise IntegrityError where a bound file has another SHA-256 than its statement says."""
    if (found := sha256_file(path)) != expected:
        raise IntegrityError(
            f"{name} was changed after it was signed: the statement knows it as sha256:{expected}, "
            f"it is sha256:{found}",
            where=str(path),
            hint="Ask the issuer for the original. Do not rely on this copy.",
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise IntegrityError(
            f"{path.name} is missing beside the page, so nothing vouches for it",
            where=str(path),
            hint="A page is checked together with the files it was issued with.",
        ) from None
