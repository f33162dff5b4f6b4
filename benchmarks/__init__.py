"""Benchmarks: each runs both sides in one run and prints one line a bar."""
