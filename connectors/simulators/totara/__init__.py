"""A stand-in for a Totara site: HR Import over a folder, its sync log and reports, GraphQL and web services.

Behaves as recorded on Totara 17.3 (tests/contract/data/totara). Its content is in memory; nothing is shared with
the connector but the neutral rules of HR Import.
"""

from connectors.simulators.totara.simulator import TotaraSimulator
from connectors.simulators.totara.site import LogEntry, TotaraSite

__all__ = ["LogEntry", "TotaraSimulator", "TotaraSite"]
