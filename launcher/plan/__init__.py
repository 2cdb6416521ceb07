"""ClusterSpec to Plan to BoundPlan: what will run, where, and with which TF_CONFIG. Pure."""

__all__ = ["binding", "listeners", "model", "moving", "plan", "plan_json", "tf_config"]
