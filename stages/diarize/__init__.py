"""Who speaks when. Engines side by side; what they share lies beside them."""
