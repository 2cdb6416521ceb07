"""Pictures of a run, of a plan and of a model: what people look at."""

__all__ = [
    "console",
    "inspect_text",
    "logs",
    "plan_text",
    "spans",
    "summary",
    "sweep_table",
    "terminal",
    "timeline_text",
]
