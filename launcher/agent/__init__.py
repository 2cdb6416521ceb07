"""The agent: one per host, acts for the supervisor. Standard library only, since it travels to hosts as it is.

From the outside in: the *relay* joins a byte pipe to the agent's socket, the *keeper* stands above the agent and takes
down whatever is left when a run is over, the *agent* reserves ports, starts and kills tasks, ships their output and
reports facts.
"""
