"""Engines that predict what listeners, or a reference-based measure, would say of a segment."""
