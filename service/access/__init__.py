"""Access control of the gateway: names, catalog, keys and quotas."""
