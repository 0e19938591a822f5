"""Small things that the registry and the service share; they import nothing of ours."""
