"""All that travels to a host: protocol, roles, names of variables, adjustments. What no other user
may see: ``private``. Standard library only."""

__all__ = [
    "adjustments",
    "errors",
    "forms",
    "keras",
    "messages",
    "post_import",
    "preload_env",
    "private",
    "protocol",
    "roles",
    "standby",
    "task_messages",
    "text",
    "variables",
    "words",
]
