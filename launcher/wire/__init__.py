"""All that travels to a host: protocol, roles, names of variables, adjustments. Standard library only."""

__all__ = [
    "adjustments",
    "errors",
    "keras",
    "messages",
    "post_import",
    "preload_env",
    "protocol",
    "roles",
    "task_messages",
    "text",
    "variables",
    "words",
]
