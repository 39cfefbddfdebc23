"""The bundled language model that the shards exist for."""
