"""What an MLflow model of this project runs: pixels in, a probability for each class out.

MLflow copies this file into the model and runs it from there, so it imports nothing of this
package. Nothing is pickled: the network is a `.keras` file, read in Keras's safe mode.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

BATCH = 1000  # images at once; bounds the memory that a convolution's activations take


class Classifier(PythonModel):  # type: ignore[misc]
    """A trained network with the preparation of its input and the names of its classes."""

    def load_context(self, context: Any) -> None:
        """Reads network, class names, mean and deviation."""
        from keras.models import load_model

        facts = json.loads(Path(context.artifacts["facts"]).read_text(encoding="utf-8"))
        self._classes, self._mean, self._std = facts["classes"], facts["mean"], facts["std"]
        self._scale = facts["scale"]
        self._network = load_model(context.artifacts["network"], compile=False, safe_mode=True)

    def predict(self, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:
        """Returns probabilities, a row per image and a column per class.

        Args:
            model_input: Images as in training, for Fashion-MNIST pixels from 0 to 255, (n, 28, 28).
            params: MLflow's; not needed.
        """
        parts = []
        for at in range(0, len(model_input), BATCH):
            pixels = np.asarray(model_input[at : at + BATCH], np.float32)
            images = (pixels / self._scale - self._mean) / self._std
            parts.append(np.asarray(self._network(images, training=False)))
        return pd.DataFrame(np.concatenate(parts).astype(np.float64), columns=self._classes)


set_model(Classifier())
