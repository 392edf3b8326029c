"""The settings of a simulated site; everything is off or zero unless asked for."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class CostModel:
    """What a request costs on the server, in seconds, beside this process's own work.

    `measured()` is what was observed on Moodle 4.5.6 with 4 PHP workers (`contracts/moodle-4.5`, Batching).
    """

    workers: int = 0
    request: float = 0.0
    write: float = 0.0
    write_locked: float = 0.0

    @classmethod
    def measured(cls) -> "CostModel":
        """Return 4 workers, 11 ms a request, 4 ms a write of which 2.1 ms under one global lock."""
        return cls(workers=4, request=0.011, write=0.004, write_locked=0.0021)


@dataclass(slots=True)
class SimulatorConfig:
    """How the simulated site behaves.

    `latency` is network time per request in seconds, slept outside any lock and any worker. `keep_alive` is
    how long an idle connection stays open. `clock`, when set, stands still at that epoch second (and
    `advance` moves it).
    """

    host: str = "127.0.0.1"
    port: int = 0
    latency: float = 0.0
    cost: CostModel = field(default_factory=CostModel)
    keep_alive: float = 75.0
    max_input_vars: int = 1000
    post_max_size: int = 8 * 1024 * 1024
    debug: bool = False
    wwwroot: str | None = None
    sitename: str = "Simulated Moodle"
    shortname: str = "simulated"
    country: str = "GB"
    theme_revision: int = 1
    timezone: str = "UTC"
    release: str = "4.5.6 (Build: 20250811)"
    version: str = "2024100706"
    password: str = "simulated-password"  # noqa: S105 - the invented password of an invented account
    clock: int | None = None
    maintenance: bool = False
    cli_maintenance: bool = False
    webservices_enabled: bool = True
    service_enabled: bool = True
    competencies_enabled: bool = True
    site_policy_agreed: bool = True
    seed: int = 0
