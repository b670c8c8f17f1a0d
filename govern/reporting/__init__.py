"""The report: a view of the records (`view`), its pictures (`charts`) and its renderings (`render`)."""
