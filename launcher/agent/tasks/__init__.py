"""Attempts of tasks: started, watched, stopped; their output and what they say."""
