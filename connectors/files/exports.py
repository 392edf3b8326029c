"""What an LMS's own export shows of a kind, under the headings of our file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from bridge.ports import FixConfiguration, Found, StopRun, Value
from connectors.files.kinds import PERSON, SUSPENDED
from connectors.files.options import FilesOptions, FileTemplate
from connectors.files.template import ACTIVE, DELETED, PARENT


def read_export(path: Path, template: FileTemplate, options: FilesOptions) -> Iterator[Found]:
    """The objects in an export; rows without a key are not ours.

    Raises:
        FixConfiguration: a column of our file is missing in it, or it is not in the encoding of the settings.
        StopRun: a row is cut short.
    """
    gone = template.switch(DELETED)
    wanted = [one.heading for one in template.columns if one is not gone]
    try:
        with path.open(encoding="utf-8-sig" if options.encoding.upper() == "UTF-8" else options.encoding) as stream:
            reader = csv.reader(stream, delimiter=options.delimiter)
            headings = next(reader, [])
            missing = [heading for heading in wanted if heading not in headings]
            if missing:
                raise FixConfiguration(
                    f"The export {path} has no column {', '.join(missing)}; it has: {', '.join(headings)}. Export the "
                    "columns of the file under the same headings, or remove `export` for this kind."
                )
            place = {heading: headings.index(heading) for heading in wanted}
            for cells in reader:
                if len(cells) != len(headings):
                    if not cells:
                        continue
                    raise StopRun(f"The export {path} is cut short at line {reader.line_num}. Export it again.")
                found = _found(template, {heading: cells[at] for heading, at in place.items()})
                if found is not None:
                    yield found
    except UnicodeDecodeError as error:
        raise FixConfiguration(f"The export {path} is not {options.encoding}: {error}. Set `encoding`.") from error


def _found(template: FileTemplate, cells: dict[str, str]) -> Found | None:
    key = cells[_heading(template, "key")]
    if not key:
        return None
    switch = template.switch(ACTIVE)
    active = switch is None or switch.switch(cells[switch.heading]) is not False
    fields: dict[str, Value] = {column.heading: cells[column.heading] for column in template.compared}
    if template.kind == PERSON:
        fields[SUSPENDED] = not active
    parent = cells[_heading(template, PARENT)] or None if template.tree else None
    return Found(template.kind, key, fields, key, parent, retired=template.kind != PERSON and not active)


def _heading(template: FileTemplate, name: str) -> str:
    column = template.column_with(name)
    assert column is not None  # noqa: S101 - the settings were checked when they were read
    return column.heading
