"""ClusterSpec to Plan to BoundPlan: what will run, where, and with which TF_CONFIG. Pure."""
