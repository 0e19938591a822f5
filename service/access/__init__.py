"""Who may use what: names, catalog, keys and quotas of the gateway."""
