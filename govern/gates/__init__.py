"""Gates: one module a kind, each saying how it judges, what it is called, and what reports and exports show of it."""
