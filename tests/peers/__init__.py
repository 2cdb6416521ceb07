"""Jobs of libraries that are made of Estimators, as their users write them; make test-peers."""
