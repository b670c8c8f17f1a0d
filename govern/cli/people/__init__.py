"""Who may sign what: keys, trust, sign-offs, waivers, revocations."""
