"""Run the simulator: `python -m connectors.simulators.totara`."""

import sys

from connectors.simulators.totara.serving import main

sys.exit(main())
