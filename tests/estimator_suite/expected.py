"""What of tf.estimator's own tests passes on TensorFlow 2.15 and not on the newest, each with its reason."""

_LAST_BIT = "the loss differs in the last bit of a float32, and the test wants seven places"
_TPU = "TPUEstimator needs tensorflow.python.tpu.session_support, which went with 2.16"
_TPU_EMBEDDING = "TPUEstimator's embeddings need tensorflow.python.tpu.tpu_embedding, which went with 2.16"

EXPECTED: dict[str, str] = {
    "head/binary_class_head_test.py::BinaryClassHeadTest.test_float_labels_eval": _LAST_BIT,
    "head/binary_class_head_test.py::BinaryClassHeadTest.test_float_labels_eval [eager_mode]": _LAST_BIT,
    "head/binary_class_head_test.py::BinaryClassHeadTest.test_float_labels_eval [graph_mode]": _LAST_BIT,
    **{
        f"tpu/tpu_estimator_embedding_test.py::TPUEstimatorFeatureColumnTest.test_{name}": _TPU_EMBEDDING
        for name in (
            "get_tpu_embedding_config_from_feature_columns",
            "mod_partition_strategy_on_cpu",
            "unknown_partition_strategy",
        )
    },
    "tpu/tpu_estimator_test.py::TPUEstimatorInputPipelinePlacementTest.test_per_core_placement": _TPU,
    "tpu/tpu_estimator_test.py::TPUEstimatorInputPipelinePlacementTest.test_per_host_placement": _TPU,
}
