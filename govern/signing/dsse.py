"""DSSE's pre-authentication encoding: the bytes that a signature really covers."""

from __future__ import annotations


def pae(payload_type: str, payload: bytes) -> bytes:
    """PAE(type, payload) of DSSE v1: both lengths are part of it, so no type and payload can be split another way."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
