"""Recording a lab: what its pipeline makes goes to a recorder."""
