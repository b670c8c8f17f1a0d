"""Keys, DSSE envelopes in Sigstore bundles, trust."""
