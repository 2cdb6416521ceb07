"""The mlflow listener against a real server, in an environment of its own; make test-mlflow."""
