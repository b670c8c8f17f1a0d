"""From an edited model to a verdict: questions, looks, attacks, endpoints, published benchmarks."""
