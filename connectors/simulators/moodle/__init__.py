"""A stand-in for a Moodle 4.5 site: the web services a bridge uses, their faults and limits, over real HTTP.

It behaves as observed on Moodle 4.5.6 (`contracts/moodle-4.5`), keeps its state in memory and ships no
recorded answers.
"""

from connectors.simulators.faults import Fault, FaultPlan
from connectors.simulators.moodle.config import CostModel, SimulatorConfig
from connectors.simulators.moodle.faults import KINDS as FAULT_KINDS
from connectors.simulators.moodle.serving import main, serve
from connectors.simulators.moodle.simulator import MoodleSimulator

__all__ = [
    "FAULT_KINDS",
    "CostModel",
    "Fault",
    "FaultPlan",
    "MoodleSimulator",
    "SimulatorConfig",
    "main",
    "serve",
]
