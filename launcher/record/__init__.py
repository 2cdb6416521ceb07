"""What a run leaves behind: its folder, its events, and the folds over them that the report is made of."""

__all__ = ["drill_view", "event_log", "events", "report", "runs", "states", "task_view", "view"]
