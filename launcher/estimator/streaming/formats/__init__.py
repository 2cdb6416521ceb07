"""Files of data, and the rows that are in them."""
