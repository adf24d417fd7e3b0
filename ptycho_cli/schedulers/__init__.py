"""Built-in learning-rate schedulers, offered through the same hook as a plugin's; one file each."""
