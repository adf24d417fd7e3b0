"""Settings: one immutable config, and the story of every value."""
