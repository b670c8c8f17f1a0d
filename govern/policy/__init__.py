"""Policies: schema, loading with file:line:column, digest."""
