"""Settings: one immutable config, and the provenance of every value."""
