"""From an edited model to a verdict: verify, stress, benchmark."""
