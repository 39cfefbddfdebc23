"""How a segment sounds: measured attributes, and captions in English and Chinese."""
