"""Training the language model: samples, losses, and a run that can be stopped at any step."""
