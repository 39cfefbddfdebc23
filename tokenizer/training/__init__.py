"""How a tokenizer is trained: losses, networks, data and the loop around them."""
