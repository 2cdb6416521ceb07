"""A Keras model that knows of no Estimator: says whose Keras it was trained with."""

import keras
import numpy as np
import tensorflow as tf

model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
model.compile(optimizer="adam", loss="mse")
model.fit(np.ones((64, 2)), np.ones((64, 1)), epochs=2, verbose=0)
print("trained by Keras", keras.__version__, type(model.optimizer).__module__, flush=True)
