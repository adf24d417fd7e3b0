"""What the user sees: tables, problems, curves and pictures; nothing here decides anything."""
