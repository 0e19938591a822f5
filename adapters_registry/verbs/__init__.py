"""The registry's verbs, a file for each noun; ``registry`` joins them."""
