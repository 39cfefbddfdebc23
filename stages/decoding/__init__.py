"""Bytes of strangers to samples: read in a process of its own, judged in this one."""
