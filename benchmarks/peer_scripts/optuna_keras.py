"""Optuna and Keras, a process on each core."""

import common
import keras_network

if __name__ == "__main__":
    common.search_with_optuna(keras_network.to_tensors, keras_network.train)
