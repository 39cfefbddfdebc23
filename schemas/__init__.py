"""What a row, a code, a verdict, an id and an error are. Imports nothing of ours."""
