"""What a run leaves behind: its folder, its events, and the folds over them that the report is made of."""

__all__ = [
    "course",
    "drill_view",
    "event_log",
    "events",
    "files",
    "reachable",
    "reading",
    "report",
    "runs",
    "sampling",
    "snapshot",
    "states",
    "task_view",
    "view",
]
