"""A small sound architecture to spoil in one place at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from jobs.architecture import ArchitectureReading, read_architecture

SOUND: Mapping[str, str] = {
    "competency_scales.csv": (
        "scale,name,value,label,proficient,default\n"
        "S3,Three,1,Low,0,1\n"
        "S3,Three,2,Middle,1,0\n"
        "S3,Three,3,High,1,0\n"
        "S2,Two,1,No,0,1\n"
        "S2,Two,2,Yes,1,0\n"
    ),
    "competency_frameworks.csv": "framework,name,scale\nCORE,Core,S3\nTECH,Technical,S2\n",
    "competencies.csv": (
        "framework,idnumber,parent,shortname,description,scale\n"
        "CORE,C1,,Care,About care,\n"
        "CORE,C1.1,C1,Listening,,\n"
        "CORE,C1.2,C1,Explaining,,S2\n"
        "TECH,T1,,Tools,,\n"
        "TECH,BOTH,,Twice there,,\n"
        "CORE,BOTH,,Twice there,,\n"
    ),
    "level_descriptors.csv": "competency,level,text\nC1,1,Begins\nC1,High,Leads\n",
    "roll_up_rules.csv": (
        "competency,rule,outcome,required_points,child,points,required\nC1,points,complete,2,C1.1,1,1\nC1,,,,C1.2,1,\n"
    ),
    "related_competencies.csv": "competency,related\nC1.1,C1.2\n",
    "course_links.csv": "course,competency,outcome\nK01,C1,\nK01,CORE/BOTH,recommend\n",
    "job_families.csv": "idnumber,name,parent\nF1,Family,\nF2,Sub-family,F1\n",
    "positions.csv": "idnumber,title,family,level,track\nP1,Nurse,F2,2,IC\nP2,Head nurse,F1,4,M\n",
    "organisations.csv": "idnumber,name,parent,cost_centre\nO1,House,,\nO2,Ward,O1,CC2\n",
    "position_competencies.csv": "position,competency,required_level\nP1,C1,2\nP1,T1,Yes\nP2,C1,3\n",
    "requirements.csv": (
        "target,target_key,competency,required_level,due_days,renewal_days\n"
        "everyone,,C1,1,90,365\n"
        "organisation,O1,C1,2,,\n"
        "family,F1,T1,2,,\n"
        "level,4,C1.1,3,,\n"
        "position,P1,C1.2,2,30,\n"
    ),
}

Read = Callable[..., ArchitectureReading]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read the sound architecture with some files changed; None takes a file away."""

    def reading(changed: Mapping[str, str | None] | None = None) -> ArchitectureReading:
        for name, content in {**SOUND, **(changed or {})}.items():
            if content is not None:
                (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        return read_architecture(tmp_path)

    return reading


@pytest.fixture
def read_with_line(read: Read) -> Read:
    """Read the sound architecture with a line added to one file; the line's number comes with it."""

    def reading(name: str, line: str) -> tuple[ArchitectureReading, int]:
        content = f"{SOUND[name]}{line}\n"
        return read({name: content}), content.count("\n")

    return reading
