"""Tests and distances in plain numpy: two samples, sequential means, changes."""

from everloop.statistics.adwin import Adwin
from everloop.statistics.blocks import BlockMeans, block_means
from everloop.statistics.change import RiseEvidence
from everloop.statistics.cusum import Cusum, cusum_limit
from everloop.statistics.levels import LevelRules, apply_level, fit_level, level_at, levelled
from everloop.statistics.sequential import MeanTest, change_evidence, gain_evidence, mean_test, t_mixture_log_e
from everloop.statistics.two_sample import (
    chi_squared,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability,
    share_distances,
)

__all__ = [
    "Adwin",
    "BlockMeans",
    "Cusum",
    "LevelRules",
    "MeanTest",
    "RiseEvidence",
    "apply_level",
    "block_means",
    "change_evidence",
    "chi_squared",
    "cusum_limit",
    "fit_level",
    "gain_evidence",
    "jensen_shannon",
    "kolmogorov_smirnov",
    "level_at",
    "levelled",
    "mean_test",
    "population_stability",
    "share_distances",
    "t_mixture_log_e",
]
