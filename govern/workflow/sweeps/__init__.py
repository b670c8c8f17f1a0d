"""Choosing settings: grids, ablations, comparisons of methods."""
