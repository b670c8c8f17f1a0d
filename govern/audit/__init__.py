"""The append-only audit log, and what shows it to outsiders. No torch, no network."""

from govern.audit.body import Stored, parse_event
from govern.audit.checkpoint import (
    Checkpoint,
    LogVerifier,
    open_checkpoint,
    own_note,
    parse_vkey,
    sign_checkpoint,
    split_notes,
)
from govern.audit.cosignature import (
    Cosigner,
    Request,
    add_cosignature,
    cosign,
    cosigned_at,
    format_request,
    parse_cosigner,
    parse_request,
)
from govern.audit.export import format_line, read_export
from govern.audit.fsck import fsck
from govern.audit.inspection import Damage, Finding, Head
from govern.audit.log import Log
from govern.audit.move import move_log
from govern.audit.proof import Proof, format_proof, parse_proof, verify_proof

__all__ = [
    "Checkpoint",
    "Cosigner",
    "Damage",
    "Finding",
    "Head",
    "Log",
    "LogVerifier",
    "Proof",
    "Request",
    "Stored",
    "add_cosignature",
    "cosign",
    "cosigned_at",
    "format_line",
    "format_proof",
    "format_request",
    "fsck",
    "move_log",
    "open_checkpoint",
    "own_note",
    "parse_cosigner",
    "parse_event",
    "parse_proof",
    "parse_request",
    "parse_vkey",
    "read_export",
    "sign_checkpoint",
    "split_notes",
    "verify_proof",
]
