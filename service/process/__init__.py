"""Starting and stopping what ``up`` runs."""
