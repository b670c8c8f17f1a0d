"""Texts: loading, tokens, overlap, sampling from the model itself."""
