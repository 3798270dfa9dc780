"""The two-stage experiment: tune every strategy, then confirm the winners on fresh seeds."""
