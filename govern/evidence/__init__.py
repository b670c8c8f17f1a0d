"""The evidence pack: what a reviewer receives, and how it is checked without us. No torch, no log, no network."""

from govern.evidence import names
from govern.evidence.model import check_delta, check_model, model_folder
from govern.evidence.pack import write_pack
from govern.evidence.statements import edit_statements
from govern.evidence.verify import CheckedPack, verify_pack

__all__ = [
    "CheckedPack",
    "check_delta",
    "check_model",
    "edit_statements",
    "model_folder",
    "names",
    "verify_pack",
    "write_pack",
]
