"""The public names, for type checkers, and for `__init__.py`, which reads them from here."""

import typing

from metalearn_lib import evaluate as evaluate
from metalearn_lib import gradient_estimators as gradient_estimators
from metalearn_lib import meta_train as meta_train
from metalearn_lib import plots as plots
from metalearn_lib import statistics as statistics
from metalearn_lib.cards import load_theta as load_theta
from metalearn_lib.cards import load_thetas as load_thetas
from metalearn_lib.cards import rule_of as rule_of
from metalearn_lib.cards import save_theta as save_theta
from metalearn_lib.cards import shipped as shipped
from metalearn_lib.directions import DIRECTIONS as DIRECTIONS
from metalearn_lib.directions import Direction as Direction
from metalearn_lib.evaluate import Cell as Cell
from metalearn_lib.evaluate import by_cell as by_cell
from metalearn_lib.evaluate import home_cell as home_cell
from metalearn_lib.evaluate import shifted_cell as shifted_cell
from metalearn_lib.evaluate.contestants import contestant as contestant
from metalearn_lib.gradient_estimators import ESTIMATORS as ESTIMATORS
from metalearn_lib.gradient_estimators import Estimator as Estimator
from metalearn_lib.guard import Guard as Guard
from metalearn_lib.inner_loop import InnerLoop as InnerLoop
from metalearn_lib.inner_loop import Instances as Instances
from metalearn_lib.inner_loop import draw_instances as draw_instances
from metalearn_lib.inputs import INPUTS as INPUTS
from metalearn_lib.inputs import Input as Input
from metalearn_lib.learned_lr import LearnedLR as LearnedLR
from metalearn_lib.learned_optimizer import LearnedOptimizer as LearnedOptimizer
from metalearn_lib.learners import MLP as MLP
from metalearn_lib.learners import Batch as Batch
from metalearn_lib.learners import Learner as Learner
from metalearn_lib.learners import ModuleLearner as ModuleLearner
from metalearn_lib.meta_optimizer import MetaOptimizer as MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig as MetaTrainConfig
from metalearn_lib.meta_train import Trained as Trained
from metalearn_lib.meta_train import meta_train_best as meta_train_best
from metalearn_lib.monitor import Monitor as Monitor
from metalearn_lib.monitor import Observation as Observation
from metalearn_lib.rates import RATES as RATES
from metalearn_lib.rates import Rate as Rate
from metalearn_lib.shifts import SHIFTS as SHIFTS
from metalearn_lib.shifts import Shift as Shift
from metalearn_lib.shifts import make_shift as make_shift
from metalearn_lib.tasks import TASKS as TASKS
from metalearn_lib.tasks import TaskFamily as TaskFamily
from metalearn_lib.types import Info as Info
from metalearn_lib.types import Seeds as Seeds
from metalearn_lib.types import Task as Task

__version__: str

def __getattr__(name: str) -> type[typing.Any]: ...  # each rule, by the name of its class
