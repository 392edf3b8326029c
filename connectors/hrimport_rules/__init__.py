"""What Totara's HR Import does with a file: its reading, checks, effects and log, as pure rules.

Neutral ground: the Totara connector predicts with these rules (preflight) and the Totara simulator applies
them, so that they exist once. Nothing here knows a connector, a network or a clock of its own. Observed on
Totara 17.3; where 12 differs, its own behaviour is kept behind ``HrImportSettings.version``.
"""

from connectors.hrimport_rules.holds import site_state_from_files
from connectors.hrimport_rules.outcome import ElementResult, Journal, LogRow, RowOutcome
from connectors.hrimport_rules.run import ELEMENTS, import_element, import_files
from connectors.hrimport_rules.settings import (
    CustomField,
    ElementSettings,
    HrImportSettings,
    SettingsError,
    load_settings,
)
from connectors.hrimport_rules.state import SiteState

__all__ = [
    "ELEMENTS",
    "CustomField",
    "ElementResult",
    "ElementSettings",
    "HrImportSettings",
    "Journal",
    "LogRow",
    "RowOutcome",
    "SettingsError",
    "SiteState",
    "import_element",
    "import_files",
    "load_settings",
    "site_state_from_files",
]
