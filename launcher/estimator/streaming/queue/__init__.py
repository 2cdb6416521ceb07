"""The shared queue of shards: who reads which, and what has been trained."""
