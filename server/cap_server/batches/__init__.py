"""Many problems in one request: a bounded number at once, told as they end, continued by name."""
