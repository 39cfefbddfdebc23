"""One measurement or decision per file. No Ray in here."""
