"""Tasks that roam: they go elsewhere alone, come and leave while the others carry on; and what that costs."""

__all__ = ["alone", "costs", "draining", "scaling"]
