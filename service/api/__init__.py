"""The HTTP front: OpenAI-compatible routes over a `Generate` callable."""
