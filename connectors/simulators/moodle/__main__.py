"""Run the simulator: `python -m connectors.simulators.moodle`."""

import sys

from connectors.simulators.moodle.serving import main

sys.exit(main())
