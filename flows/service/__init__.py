"""The standing service: server, workers, deployments, automations, and its doctor."""
