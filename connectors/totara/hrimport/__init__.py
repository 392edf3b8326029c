"""HR Import, the channel that every Totara from 12 on has: its files written, checked beforehand and delivered."""

from connectors.totara.hrimport.preflight import PreflightReport, element_files, preflight, preflight_directory

__all__ = ["PreflightReport", "element_files", "preflight", "preflight_directory"]
