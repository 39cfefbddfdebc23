"""The speech on which the small tokenizer is trained: made here, free to pass on as weights."""
