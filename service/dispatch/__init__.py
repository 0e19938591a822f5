"""From a validated request to a replica, and its tokens back."""
