"""Ray Serve: the application, its deployments, and their transports."""
