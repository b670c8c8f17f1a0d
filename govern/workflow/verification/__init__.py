"""From an edited model to a verdict: questions, gates, attacks, endpoints, published benchmarks."""
