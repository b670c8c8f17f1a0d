"""Published benchmarks on the user's own copy of their data, one pack a file. Importing this loads no torch."""

from govern.evaluation.packs.protocol import Asked, Pack, Reader, Replies, load_pack

__all__ = ["Asked", "Pack", "Reader", "Replies", "load_pack"]
