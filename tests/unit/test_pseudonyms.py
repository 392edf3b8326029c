"""Names that stand for people: found in any text, the same throughout a bundle, different in the next."""

from __future__ import annotations

from bridge.pseudonyms import Pseudonyms


def known() -> Pseudonyms:
    """Return pseudonyms that know one person."""
    found = Pseudonyms(b"salt")
    found.know("E00001", "mateo@northwind.example", "mateo.f", "Mateo", "Fernández")
    return found


def test_a_person_is_replaced_wherever_key_address_user_name_or_full_name_stand() -> None:
    """In keys of links, in sentences, in brackets and before a full stop; everybody else's words stay."""
    names = known()
    person = names.key("E00001")
    assert names.object_key("cohort_member", "E00001|DIG-S-05") == f"{person}|DIG-S-05"
    assert names.text("Mateo Fernández (E00001) left.") == f"{person} ({person}) left."
    assert names.text("mateo.f has mateo@northwind.example.") == f"{person} has {person}@people.example."
    assert names.text("E000011 and Mateo's team") == "E000011 and Mateo's team"


def test_an_address_of_somebody_unknown_is_replaced_as_well() -> None:
    """A file or a message may name people whom the store does not know."""
    text = known().text("write to somebody.else@northwind.example, please")
    assert "northwind" not in text
    assert text.endswith("@people.example, please")


def test_of_an_account_only_what_says_nothing_about_who_it_is_stays() -> None:
    """Suspended or not and the way of signing in are of use to support; profile fields are not shown."""
    names = known()
    fields = {
        "idnumber": "E00001",
        "firstname": "Mateo",
        "lastname": "Fernández",
        "email": "mateo@northwind.example",
        "auth": "manual",
        "suspended": False,
        "profile": "South",
    }
    shown = names.fields("user", fields, "E00001")
    assert shown is not None
    assert shown["auth"] == "manual"
    assert shown["suspended"] is False
    assert not {"E00001", "Mateo", "Fernández", "mateo@northwind.example", "South"} & {str(x) for x in shown.values()}


def test_the_next_bundle_has_other_names() -> None:
    """Two bundles cannot be laid side by side to follow a person."""
    assert Pseudonyms().key("E00001") != Pseudonyms().key("E00001")
    names = Pseudonyms()
    assert names.key("E00001") == names.key("E00001")
