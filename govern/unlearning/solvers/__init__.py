"""How an objective over representations is minimised."""
