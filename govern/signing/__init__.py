"""Keys, DSSE envelopes in Sigstore bundles, trust. No network, no torch."""

from govern.signing.bundle import claimed_signer, sign_statement, verify_bundle
from govern.signing.dsse import pae
from govern.signing.keys import (
    PublicKey,
    SigningKey,
    generate_key,
    load_key,
    load_public,
    public_path,
    throwaway_key,
)
from govern.signing.statement import (
    AuditPosition,
    GateVerdict,
    Predicate,
    ReportPredicate,
    Statement,
    build_statement,
    parse_statement,
)
from govern.signing.trust import trusted_keys

__all__ = [
    "AuditPosition",
    "GateVerdict",
    "Predicate",
    "PublicKey",
    "ReportPredicate",
    "SigningKey",
    "Statement",
    "build_statement",
    "claimed_signer",
    "generate_key",
    "load_key",
    "load_public",
    "pae",
    "parse_statement",
    "public_path",
    "sign_statement",
    "throwaway_key",
    "trusted_keys",
    "verify_bundle",
]
