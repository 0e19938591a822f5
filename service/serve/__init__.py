"""Ray Serve: the application, its deployments, and what they take to start."""
