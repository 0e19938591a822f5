"""Small things that every room uses: durable files, threads, logs, counts, loopback addresses."""
