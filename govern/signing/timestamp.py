"""RFC 3161 timestamps: a third party's signature over a digest and a time. Needs the extra `timestamp`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from govern import limits
from govern.errors import GovernError, IntegrityError, UsageError

try:
    from rfc3161_client import (
        HashAlgorithm,
        TimestampRequestBuilder,
        VerificationError,
        VerifierBuilder,
        decode_timestamp_response,
    )
    from rfc3161_client._rust import parse_timestamp_request
except ImportError:
    raise GovernError(
        "timestamps need rfc3161-client", hint="Install the extra: pip install 'govern-unlearning[timestamp]'"
    ) from None


@dataclass(frozen=True)
class Timestamp:
    """What an authority signed: a moment (UTC), its own number for it, and its name where it tells one."""

    time: datetime
    serial: int
    authority: str | None


def timestamp_request(data: bytes) -> bytes:
    """A request for a timestamp of `data` (TimeStampReq, DER): its SHA-256, a fresh nonce, certificates wanted."""
    return TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()


def verify_timestamp(response: bytes, data: bytes, *, roots: bytes, request: bytes | None = None) -> Timestamp:
    """Check an authority's response (TimeStampResp, DER) over `data`: status, imprint, signature and certificates.

    `roots` are PEM certificates that the reader trusts for timestamps. With the `request` that it answers, its nonce
    too. Certificates are judged at the time that the response tells. Raises IntegrityError, and UsageError where
    `roots` is no PEM.
    """
    limits.check_size(response, limits.TIMESTAMP_BYTES, "timestamp")
    limits.check_size(roots, limits.TIMESTAMP_BYTES, "file of certificates")
    builder = VerifierBuilder()
    try:
        for certificate in x509.load_pem_x509_certificates(roots):
            builder = builder.add_root_certificate(certificate)
    except ValueError:
        raise UsageError(
            "this is not a certificate (PEM)", hint="Ask the authority for its root certificate."
        ) from None
    try:
        if request is not None:
            nonce = parse_timestamp_request(request).nonce
            if nonce is None:
                raise IntegrityError("the request has no nonce, so nothing shows that the response answers it")
            builder = builder.nonce(nonce)
        parsed = decode_timestamp_response(response)
        if parsed.status != 0:
            said = "; ".join(parsed.status_string)
            raise IntegrityError(f"the authority refused: status {parsed.status} {said}".rstrip())
        builder.build().verify_message(parsed, data)
        told = parsed.tst_info
    except VerificationError as error:
        raise IntegrityError(f"the timestamp does not hold: {error}") from None
    except ValueError as error:
        raise IntegrityError(f"the timestamp is malformed: {error}") from None
    name = told.name.value if isinstance(told.name, x509.DirectoryName) else None
    return Timestamp(told.gen_time, told.serial_number, name.rfc4514_string() if name else None)
