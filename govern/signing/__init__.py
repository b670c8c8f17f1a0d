"""Keys, in-toto statements, Sigstore bundles and pinned signers. No network, no torch."""

from govern.records import AuditPosition
from govern.signing.bundle import claimed_signer, sign, verify
from govern.signing.dsse import pae
from govern.signing.key_files import public_path
from govern.signing.keys import (
    PublicKey,
    SigningKey,
    generate_key,
    load_key,
    load_public,
    throwaway_key,
)
from govern.signing.log_key import LogKey, generate_log_key, load_log_key
from govern.signing.statement import (
    AttackClaim,
    GateClaim,
    ReportPredicate,
    SignerIdentity,
    Statement,
    parse_statement,
    report_predicate,
    report_statement,
)
from govern.signing.trust import Trusted, load_trusted

__all__ = [
    "AttackClaim",
    "AuditPosition",
    "GateClaim",
    "LogKey",
    "PublicKey",
    "ReportPredicate",
    "SignerIdentity",
    "SigningKey",
    "Statement",
    "Trusted",
    "claimed_signer",
    "generate_key",
    "generate_log_key",
    "load_key",
    "load_log_key",
    "load_public",
    "load_trusted",
    "pae",
    "parse_statement",
    "public_path",
    "report_predicate",
    "report_statement",
    "sign",
    "throwaway_key",
    "verify",
]
