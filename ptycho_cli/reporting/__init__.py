"""Reports of runs and reconstructions: pages, tables of many runs, and archives for a question to colleagues."""
