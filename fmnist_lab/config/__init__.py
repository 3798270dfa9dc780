"""The configuration: its schema, where its files are, and what is checked before any work."""

from fmnist_lab.config.compose import (
    STRIDE,
    compose,
    config_dir,
    load,
    options,
    refusal,
    refuse_password,
    register,
    to_tracking,
    to_trial,
    validate_stages,
)
from fmnist_lab.config.structured import Config, Tracking, TrackingConfig

__all__ = [
    "STRIDE",
    "Config",
    "Tracking",
    "TrackingConfig",
    "compose",
    "config_dir",
    "load",
    "options",
    "refusal",
    "refuse_password",
    "register",
    "to_tracking",
    "to_trial",
    "validate_stages",
]
