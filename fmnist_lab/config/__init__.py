"""The configuration: its schema, where its files are, and what is checked before any work."""

from fmnist_lab.config.compose import (
    STRIDE,
    Config,
    Tracking,
    TrackingConfig,
    compose,
    load,
    refusal,
    refuse_password,
    register,
    to_tracking,
    to_trial,
    validate_stages,
)
from fmnist_lab.config.config_files import config_dir, options

__all__ = ["STRIDE", "Config", "Tracking", "TrackingConfig", "compose", "config_dir", "load",
           "options", "refusal", "refuse_password", "register", "to_tracking", "to_trial",
           "validate_stages"]  # fmt: skip
