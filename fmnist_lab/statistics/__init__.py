"""How strategies are compared: pandas frames in, pandas frames out, nothing drawn, nothing read.

The frames that go in are tidy. Every function names the columns it needs; more do no harm.

`trials`, a row per tuning trial:
    strategy (str), trial (int64), seed (int64), search (int64; 0 where there is one search),
    objective (float64), objective_metric (str; val/accuracy is maximised, val/loss minimised),
    stop_reason (str, a `StopReason`), epochs_trained (int64), and a column for every searched
    parameter under its dotted key, `optimizer.learning_rate` (float64), say.
`replicates`, a row per replicate of a tuned strategy:
    strategy, seed, search, objective, objective_metric, stop_reason, epochs_trained as above,
    test_accuracy and test_loss (float64, a share of 1 and nats).
`images`, a row per replicate that kept which test images it got right, by the index of
    `replicates`, and a column per image (bool).
`curves`, a row per trial and epoch:
    strategy, trial, seed, epoch (int64, from 0), and metrics such as val/accuracy (float64).

NaN, None and infinity all mean "no value". What has no value is counted in every answer, never
dropped in silence. Answers are in the units that came in: 0.002 is 0.2 points of accuracy.
"""

from fmnist_lab.statistics.budget import epochs_to_target, expected_best, saved_epochs
from fmnist_lab.statistics.cells import compare_in_cells, improvement, profiles
from fmnist_lab.statistics.joint import MIN_PAIRS, JointFlips, joint_flips
from fmnist_lab.statistics.paired import MOST_PAIRS, equivalence_p, more_pairs, t_interval
from fmnist_lab.statistics.ranking import best, on_real_images, rank, winners
from fmnist_lab.statistics.tuning import at_edge, divergence, good_range, optimism
from fmnist_lab.statistics.variance import COMPONENTS, components, image_variance
from fmnist_lab.statistics.verdicts import MARGIN, Verdict, compare, compare_to_best, order, seen

__all__ = ["COMPONENTS", "MARGIN", "MIN_PAIRS", "MOST_PAIRS", "JointFlips", "Verdict", "at_edge",
           "best", "compare", "compare_in_cells", "compare_to_best", "components", "divergence",
           "epochs_to_target", "equivalence_p", "expected_best", "good_range", "image_variance",
           "improvement", "joint_flips", "more_pairs", "on_real_images", "optimism", "order",
           "profiles", "rank", "saved_epochs", "seen", "t_interval", "winners"]  # fmt: skip
