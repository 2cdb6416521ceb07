"""Programs of every shape that TF_CONFIG knows, and what becomes of them."""
