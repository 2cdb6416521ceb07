"""Sample data with a known truth."""
