"""Small modules that the registry and the service share; they import no other module of the project."""
