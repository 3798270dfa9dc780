"""The images that a trial sees: where they come from, how they are split."""

from fmnist_lab.data.dataset import (
    CLASS_NAMES,
    OWN,
    PRELOADED,
    SEED_OF_SPLIT,
    TEST_IMAGES,
    TRAIN_IMAGES,
    DataConfig,
    Dataset,
    checksums,
    deciding,
    load,
    validate,
)

__all__ = ["CLASS_NAMES", "OWN", "PRELOADED", "SEED_OF_SPLIT", "TEST_IMAGES", "TRAIN_IMAGES",
           "DataConfig", "Dataset", "checksums", "deciding", "load", "validate"]  # fmt: skip
