"""Who may sign what: trust, sign-offs, waivers, revocations."""
