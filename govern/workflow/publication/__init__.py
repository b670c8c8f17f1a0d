"""What leaves the house, and how a stranger checks it: reports, exports, evidence packs, the site, the audit."""
