"""The demo corpus: what is said in it, and how its recordings were made."""
