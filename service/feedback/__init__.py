"""Feedback on answers: a durable log, joined with response records, exported as training rows."""
