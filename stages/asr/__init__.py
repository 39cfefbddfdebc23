"""Engines that turn a segment into text with word times and a confidence."""
