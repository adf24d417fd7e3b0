"""The built-in schedulers pass the conformance tests for plugins."""

from __future__ import annotations

from ptycho_cli.extend.conformance import SchedulerConformance
from ptycho_cli.schedulers import ADAPTIVE, DEFAULT, EXPONENTIAL, MULTI_STAGE, PLATEAU, WARMUP_COSINE


class TestDefault(SchedulerConformance):
    entry = DEFAULT


class TestExponential(SchedulerConformance):
    entry = EXPONENTIAL
    options = ({}, {"gamma": 0.5, "every": 1}, {"every": "10%"}, {"gamma": 1.0})


class TestMultiStage(SchedulerConformance):
    entry = MULTI_STAGE
    options = (
        {},
        {"ramp": "linear", "stage_1": "1ep"},
        {"stage_1": 0, "stage_2": 0},
        {"stage_1": "50%", "stage_2": "50%"},
    )


class TestAdaptive(SchedulerConformance):
    entry = ADAPTIVE
    options = ({}, {"ramp": "quadratic", "start": 1.0, "end": 0.25}, {"stage_1": "100%", "stage_2": 0})


class TestWarmupCosine(SchedulerConformance):
    entry = WARMUP_COSINE
    options = ({}, {"warmup": "2ep"}, {"warmup": 3, "start": 0.0, "min_ratio": 0.0})


class TestReduceLROnPlateau(SchedulerConformance):
    entry = PLATEAU
    options = ({}, {"patience": 0, "factor": 0.1}, {"patience": 1, "min_lr": 0.0})
