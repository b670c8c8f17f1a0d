"""The evidence pack: what a reviewer receives, and how it is checked without us. No torch, no log, no network."""

from govern.evidence import names
from govern.evidence.pack import write_pack
from govern.evidence.statements import edit_statements
from govern.evidence.verify import CheckedPack, verify_pack

__all__ = ["CheckedPack", "edit_statements", "names", "verify_pack", "write_pack"]
