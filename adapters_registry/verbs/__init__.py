"""The registry's verbs, one file per noun; ``registry`` joins them."""
