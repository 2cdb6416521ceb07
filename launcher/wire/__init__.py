"""All that travels to a host: protocol, roles, names of variables, adjustments. Standard library only."""
