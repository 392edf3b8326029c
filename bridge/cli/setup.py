"""Getting started: init and check."""

from __future__ import annotations

import os
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, ModelOption, SiteOption, opened
from bridge.cli.screen import FAILED, Screen
from jobs import check as job


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(init)
    app.command()(check)


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; the present folder if not given.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write `.env` and `bridge.toml` with a comment on everything. Files that are there already are left alone."""
    screen = Screen(as_json)
    folder.mkdir(parents=True, exist_ok=True)
    written, kept = [], []
    for name, template, mode in ((".env", "env.example", 0o600), ("bridge.toml", "bridge.toml", 0o644)):
        path = folder / name
        if path.exists():
            kept.append(str(path))
            screen.say(f"{path} is there already; left alone.")
            continue
        text = (files("bridge.cli") / "templates" / template).read_text("utf-8")
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        written.append(str(path))
        screen.say(f"{path} written.")
    screen.say("Now put the address and the token of your Moodle into .env, then run: lms-bridge check")
    screen.give({"written": written, "kept": kept})


def check(
    model: ModelOption = None,
    scale_file: Annotated[
        Path | None,
        typer.Option(
            "--scale-file",
            help="Write a file here that Moodle's framework importer makes the model's scales from.",
        ),
    ] = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the LMS what it is and what the account may do; name what is missing and what stops working without it."""
    screen = Screen(as_json)
    with opened(screen, site) as place:
        report = job.check(place, model)
        if scale_file is not None:
            job.write_scale_file(place, model, scale_file)
            screen.say(
                f"{scale_file} written. In Moodle: Site administration > Competencies > Import competency framework. "
                "It makes the scales (and a small framework, which you may delete afterwards)."
            )
    found = report.capabilities
    screen.say(f"{found.product} {found.release}: {found.site_name}, as {found.account}")
    for finding, following in zip_longest(found.findings, found.findings[1:]):
        sign, style = ("ok", "green") if finding.ok else ("--", "red" if finding.blocking else "yellow")
        screen.say(f"  {sign}  {finding.subject}: {finding.says}", style)
        # One remedy for several in a row is said once, below the last of them.
        again = following is not None and not following.ok and following.remedy == finding.remedy
        if not finding.ok and finding.remedy and not again:
            screen.say(f"      {finding.remedy}")
    for remark in report.waits:
        about = " ".join(part for part in (remark.kind, remark.key) if part)
        screen.say(f"  ..  {about}: {remark.says}")
    if report.tried_again:
        screen.say("The LMS lets the bridge in again: unattended work tries this site at its next time.")
    screen.say("Ready." if report.ok else "Not ready: mend what is marked -- in red, then check again.")
    screen.give(
        {
            "ok": report.ok,
            "product": found.product,
            "release": found.release,
            "site_name": found.site_name,
            "account": found.account,
            "findings": [
                {
                    "subject": one.subject,
                    "ok": one.ok,
                    "says": one.says,
                    "remedy": one.remedy,
                    "blocking": one.blocking,
                }
                for one in found.findings
            ],
            "waits": [{"kind": one.kind, "key": one.key, "says": one.says} for one in report.waits],
            "tried_again": report.tried_again,
        }
    )
    if not report.ok:
        raise typer.Exit(FAILED)
