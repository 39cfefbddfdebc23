"""What in a segment is unsafe or personal, and where it is said."""
