"""What leaves the house and how it is checked: reports, exports, evidence packs, the site, status."""
