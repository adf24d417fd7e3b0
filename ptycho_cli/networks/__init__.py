"""Networks that reconstruct objects from measured frames."""
