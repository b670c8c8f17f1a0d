"""Removal methods: `registry` names them, `protocol` says what each receives and returns. This loads no torch."""
