"""Pictures of a run, of a plan and of a model: what people look at."""
