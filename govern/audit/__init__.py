"""The append-only audit log, and what shows it to outsiders. No torch, no network.

Who checks a proof, an export or a pack needs no database: SQLAlchemy is loaded with `Log`, `fsck` and `move_log` alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    CosigningRequest,
    add_cosignature,
    cosign,
    cosigned_at,
    format_request,
    parse_cosigner,
    parse_request,
)
from govern.audit.export import format_line, read_export
from govern.audit.inspection import Damage, Finding, Head
from govern.audit.proof import Proof, format_proof, parse_proof, verify_proof

if TYPE_CHECKING:
    from govern.audit.damage import fsck
    from govern.audit.log import Log
    from govern.audit.move import move_log

__all__ = [
    "Checkpoint",
    "Cosigner",
    "CosigningRequest",
    "Damage",
    "Finding",
    "Head",
    "Log",
    "LogVerifier",
    "Proof",
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

_NEED_A_DATABASE = {"Log": "govern.audit.log", "fsck": "govern.audit.damage", "move_log": "govern.audit.move"}


def __getattr__(name: str) -> Any:
    if name not in _NEED_A_DATABASE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NEED_A_DATABASE[name]), name)
