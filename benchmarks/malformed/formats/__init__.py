"""File formats byte by byte: what no encoder would write must be written by hand."""
