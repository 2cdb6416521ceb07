"""Names by which supervisor, agent and tasks find each other: variables, and the little else that must agree.

Imports nothing, since it is on the way of every start of a task or an agent.
"""

from __future__ import annotations

RUN_VARIABLE = "TFLAUNCH_RUN"  # every process of a run has it, and is found by it
TASK_SOCKET_VARIABLE = "TFLAUNCH_TASK_SOCKET"
TASK_VARIABLE = "TFLAUNCH_TASK"
ATTEMPT_VARIABLE = "TFLAUNCH_ATTEMPT"
TUNE_VARIABLE = "TFLAUNCH_TUNE"
LEGACY_KERAS_VARIABLE = "TFLAUNCH_LEGACY_KERAS"  # whether tf.keras is to be Keras 2: one of the following
ON, UNNEEDED, OFF = "on", "unneeded", "off"  # the program shows no need of it; nobody is to choose it
TRAINER_VARIABLE = "TFLAUNCH_TRAINER_PID"  # the process that a task is about, by which what that starts knows it
BELOW_VARIABLE = "TFLAUNCH_BELOW"  # in a process that the task's own has started
REPORT_STEPS_VARIABLE = "TFLAUNCH_REPORT_STEPS"  # global steps that are to be reported at once, "200,500"
PROFILE_VARIABLE = "TFLAUNCH_PROFILE_STEPS"
LOG_LEVEL_VARIABLE = "TFLAUNCH_LOG_LEVEL"
TRAINERS_VARIABLE = "TFLAUNCH_TRAINERS_ON_HOST"  # how many trainers share the cores of their host
GUARD_LOOPBACK_VARIABLE = "TFLAUNCH_GUARD_LOOPBACK"  # to a process that serves others of its host alone; guard.h
READY_MARKER = b"tflaunch-agent-ready\n"  # what a shell's start-up files print comes before it
ENDING_MARKER = b"tflaunch-host-ending\n"  # of a host that is about to be taken away, once or more often
CLOSING_THREAD = "tflaunch-close"  # the thread in which a task closes its session
slow_to_end: set[str] = set()  # what this process holds that nobody waits for at its end (agent/inside/ending.py)
GIVEN_VARIABLE = "TFLAUNCH_GIVEN"  # to a command line of ours from Python: values of the variables that --env names
STACKS_SIGNAL = 61  # a real-time signal: programs seldom have a use for them

# What a program uses, and so what is known of it (``protocol.Uses``), and what it does while it only serves others
# (``protocol.Doing``).
ESTIMATOR, SESSION, COORDINATOR, COLLECTIVE = "estimator", "session", "coordinator", "collective"
TENSORFLOW = "tensorflow"
TRAINING = "training"  # of an evaluator alone: it does what the trainers do
SERVING = "serve"
