"""Small things that every room uses: threads, logs, counts."""
