"""Meta-training: the outer loop, which trains the meta-optimizer over a distribution of tasks."""

from metalearn_lib.meta_train.checkpoint import CheckpointError
from metalearn_lib.meta_train.config import MetaTrainConfig
from metalearn_lib.meta_train.meta_seeds import deployed, meta_train_best, meta_train_many, validation_loss
from metalearn_lib.meta_train.outer_loop import MetaTrainingFailed, Trained, mean_estimate, meta_train
from metalearn_lib.meta_train.watch import read_log
from metalearn_lib.meta_train.workers import WorkerFailed

__all__ = [
    "CheckpointError",
    "MetaTrainConfig",
    "MetaTrainingFailed",
    "Trained",
    "WorkerFailed",
    "deployed",
    "mean_estimate",
    "meta_train",
    "meta_train_best",
    "meta_train_many",
    "read_log",
    "validation_loss",
]
