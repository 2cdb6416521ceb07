"""What runs inside the process of a task, up to the program of the user."""
