"""Names and descriptions in the form that Moodle keeps, so that what is read back equals what was sent.

Moodle refuses a description that differs from its own purified form, and a name that changes when tags are stripped
(contracts/moodle-4.5, Encoding; the accepted and refused cases are in exchanges.jsonl, "description matrix" and
"shortname matrix"). So the purified form is written here: a small set of XHTML tags, only the entities ``&amp;``,
``&lt;`` and ``&gt;``, no surrounding space, no control characters.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from html.parser import HTMLParser

import nh3

NAME_LIMIT = 100
"""Characters that Moodle's name and ID number columns hold."""

_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_TAG = re.compile(
    r"</?(?:p|br|ul|ol|li|strong|em|b|i|u|a|h[1-6]|div|span|table|thead|tbody|tr|td|th|pre|code|sub|sup|blockquote|hr|"
    r"img|font|script|style|iframe|section|article|dl|dt|dd)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_MULTILANG = re.compile(
    # The form that Moodle's own multi-language filter reads.
    r"^(?:[^<>]*<span lang=\"[a-zA-Z0-9_-]+\" class=\"multilang\">[^<>]*</span>)+[^<>]*$"
)
_BULLET = re.compile(r"^\s*[-*•‣▪]\s+(.*)$")
_NUMBER = re.compile(r"^\s*\d{1,3}[.)]\s+(.*)$")
_SPACE = re.compile(r"[ \t\n\r\f]+")
_PHP_SPACE = " \t\n\r\v\f"

_INLINE = frozenset({"strong", "em", "b", "i", "code", "sub", "sup", "a"})
_LISTS = frozenset({"ul", "ol"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_PARAGRAPHS = frozenset({"p", "div", "blockquote", "pre", "section", "article", "tr", "dt", "dd"})
_LINK = re.compile(r"^(?:https?://[a-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~/+,;=@&%-]*)?(?:\?[A-Za-z0-9._~/+,;=@&%-]*)?"
                   r"(?:#[A-Za-z0-9._~/-]*)?|mailto:[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)$")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """A text as Moodle keeps it. `changed` says that a reader would notice; `full` holds what was cut."""

    text: str
    changed: bool = False
    full: str = ""


def clean(text: str) -> str:
    """Return a text without the characters that no LMS keeps (control characters, noncharacters); newlines as LF."""
    return _CONTROL.sub(
        "", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    )


def name_form(text: str, limit: int = NAME_LIMIT) -> Form:
    """Return a name as Moodle keeps it: one line, at most `limit` characters, nothing that looks like a tag.

    A ``<`` that Moodle would take for the start of a tag gets a space after it. An over-long name is cut at a word
    and ends in an ellipsis; the whole of it is in `full`.
    """
    line = _SPACE.sub(" ", clean(text)).strip(" ")
    kept = _no_tags(line)
    if len(kept) <= limit:
        return Form(kept, changed=kept != line)
    head = kept[: limit - 1]
    if kept[limit - 1] != " ":
        space = head.rfind(" ")
        if space >= limit // 2:
            head = head[:space]
    # A "<" just before the ellipsis would begin a tag; a combining mark must not be torn from its letter.
    while head and (head[-1] in " <,;:-–(" or unicodedata.combining(kept[len(head)])):
        head = head[:-1]
    return Form(head + "…", changed=True, full=line)


def _no_tags(line: str) -> str:
    if "<" not in line or _MULTILANG.match(line):
        return line
    out = []
    for index, letter in enumerate(line):
        out.append(letter)
        if letter == "<":
            following = line[index + 1 : index + 2]
            if not following:
                out[-1] = "‹"
            elif following not in _PHP_SPACE:
                out.append(" ")
    return "".join(out)


def looks_like_html(text: str) -> bool:
    """Say whether a text is meant as HTML: it has a tag that people write in descriptions."""
    return _TAG.search(text) is not None


def description_form(text: str) -> Form:
    """Return a description as Moodle keeps it: HTML brought to its purified form, plain text turned into HTML."""
    cleaned = clean(text)
    if looks_like_html(cleaned):
        kept = purified(cleaned)
        return Form(kept, changed=kept != cleaned.strip())
    return Form(plain_to_html(cleaned))


def plain_to_html(text: str) -> str:
    """Return plain text as paragraphs; single line breaks stay, and lines that begin with bullets become a list."""
    blocks: list[str] = []
    for chunk in re.split(r"\n[ \t]*(?:\n[ \t]*)+", clean(text).strip()):
        lines = [_SPACE.sub(" ", line).strip(" ") for line in chunk.split("\n")]
        while lines:
            tag, pattern = ("ul", _BULLET) if _BULLET.match(lines[0]) else ("ol", _NUMBER)
            entries: list[str] = []
            for line in lines:
                found = pattern.match(line)
                if not found:
                    break
                entries.append(found[1].strip())
            if len(entries) > 1 and all(entries):
                blocks.append(f"<{tag}>" + "".join(f"<li>{escape(entry)}</li>" for entry in entries) + f"</{tag}>")
                lines = lines[len(entries) :]
                continue
            paragraph = [lines.pop(0)]
            while lines and not (_starts_list(lines)):
                paragraph.append(lines.pop(0))
            joined = "<br />".join(escape(line) for line in paragraph)
            if joined.strip():
                blocks.append(f"<p>{joined}</p>")
    return "".join(blocks)


def _starts_list(lines: list[str]) -> bool:
    return any(len(lines) > 1 and p.match(lines[0]) and p.match(lines[1]) for p in (_BULLET, _NUMBER))


def escape(text: str) -> str:
    """Return a text with the three characters escaped that HTML gives a meaning to; quotes stay, as Moodle has it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def paragraph(text: str) -> str:
    """Return one line of plain text as a paragraph."""
    return f"<p>{escape(_SPACE.sub(' ', clean(text)).strip())}</p>"


def bullets(entries: list[str]) -> str:
    """Return lines of plain text as a list; empty for none."""
    if not entries:
        return ""
    return "<ul>" + "".join(f"<li>{escape(_SPACE.sub(' ', clean(e)).strip())}</li>" for e in entries) + "</ul>"


def purified(text: str) -> str:
    """Return HTML with only what Moodle's purifier leaves untouched; what else there was survives as its text."""
    safe = nh3.clean(
        text,
        tags=set(
            _INLINE | _LISTS | _HEADINGS | _PARAGRAPHS | {"li", "br", "table", "tbody", "thead", "td", "th", "dl"}
        ),
        attributes={"a": {"href"}},
        link_rel=None,
        clean_content_tags={"script", "style", "iframe"},
    )
    writer = _Writer()
    writer.feed(safe)
    writer.close()
    return writer.text()


class _Writer(HTMLParser):
    """Writes a tree of allowed tags again, flat enough that the purifier has nothing to rearrange."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._blocks: list[str] = []
        self._inline: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag, closing first what it may not stand in."""
        if tag == "br":
            self._put("<br />")
        elif tag in _INLINE:
            self._open_inline(tag, dict(attrs).get("href") or "")
        elif tag in _LISTS:
            self._close_inline()
            self._close_blocks_until("li", otherwise_all=True)
            self._out.append(f"<{tag}>")
            self._blocks.append(tag)
        elif tag == "li":
            self._close_inline()
            if not any(block in _LISTS for block in self._blocks):
                self._start_paragraph("p")
                return
            while self._blocks[-1] not in _LISTS:
                self._close_block()
            self._out.append("<li>")
            self._blocks.append("li")
        elif tag in _HEADINGS or tag in _PARAGRAPHS:
            self._close_inline()
            self._start_paragraph(tag if tag in _HEADINGS else "p")
        elif tag in {"td", "th"}:
            self._put(" ")

    def handle_endtag(self, tag: str) -> None:
        """Close a tag, where it is open."""
        if tag in _INLINE:
            if any(open_tag == tag for open_tag, _ in self._inline):
                while self._inline:
                    open_tag, close = self._inline.pop()
                    self._out.append(close)
                    if open_tag == tag:
                        break
        elif tag in _LISTS or tag == "li":
            self._close_inline()
            if tag in self._blocks:
                while self._blocks[-1] != tag:
                    self._close_block()
                self._close_block()
        elif tag in _HEADINGS or tag in _PARAGRAPHS:
            self._close_inline()
            if self._blocks and self._blocks[-1] not in _LISTS | {"li"}:
                self._close_block()

    def handle_data(self, data: str) -> None:
        """Write text; space between blocks is none of it."""
        text = _SPACE.sub(" ", data)
        if text.strip(" "):
            self._put(escape(text))
        elif text and self._blocks and self._blocks[-1] not in _LISTS:
            self._put(" ")

    def text(self) -> str:
        """Return what was written, all tags closed, empty ones gone."""
        self._close_inline()
        while self._blocks:
            self._close_block()
        return _tidy("".join(self._out))

    def _put(self, piece: str) -> None:
        if not self._blocks:
            if piece == " ":
                return
            self._start_paragraph("p")
        elif self._blocks[-1] in _LISTS:
            if piece == " ":
                return
            self._out.append("<li>")
            self._blocks.append("li")
        self._out.append(piece)

    def _open_inline(self, tag: str, href: str) -> None:
        if tag == "a" and (not _LINK.match(href) or any(open_tag == "a" for open_tag, _ in self._inline)):
            self._inline.append((tag, ""))
            return
        if any(open_tag == tag for open_tag, _ in self._inline):
            self._inline.append((tag, ""))
            return
        self._put(f'<a href="{escape(href)}">' if tag == "a" else f"<{tag}>")
        self._inline.append((tag, f"</{tag}>"))

    def _start_paragraph(self, tag: str) -> None:
        if "li" in self._blocks:
            # Inside a list a paragraph is a line: the purifier keeps that form everywhere.
            while self._blocks[-1] != "li":
                self._close_block()
            if self._out[-1] != "<li>":
                self._out.append("<br />")
            return
        while self._blocks:
            self._close_block()
        self._out.append(f"<{tag}>")
        self._blocks.append(tag)

    def _close_inline(self) -> None:
        while self._inline:
            self._out.append(self._inline.pop()[1])

    def _close_block(self) -> None:
        self._close_inline()
        self._out.append(f"</{self._blocks.pop()}>")

    def _close_blocks_until(self, tag: str, *, otherwise_all: bool) -> None:
        if tag in self._blocks:
            while self._blocks[-1] != tag:
                self._close_block()
        elif otherwise_all:
            while self._blocks:
                self._close_block()


_EMPTY = re.compile(r"<(p|li|ul|ol|h[1-6]|strong|em|b|i|code|sub|sup)>((?: |<br />)*)</\1>|<a href=\"[^\"]*\"> *</a>")
_EDGE = re.compile(r"(<(?:p|li|h[1-6])>)(?: |<br />)+|(?: |<br />)+(</(?:p|li|h[1-6])>)")
_BEFORE_LIST = re.compile(r"(?: |<br />)+(<[uo]l>)")


def _tidy(text: str) -> str:
    """Return HTML without empty tags and without space at the edges of blocks."""
    while True:
        tidier = _EMPTY.sub("", text)
        tidier = _EDGE.sub(lambda found: found[1] or found[2], tidier)
        tidier = _BEFORE_LIST.sub(r"\1", tidier)
        tidier = re.sub(r" *<br /> *", "<br />", tidier)
        tidier = re.sub(r" {2,}", " ", tidier)
        if tidier == text:
            return text.strip()
        text = tidier


_BESIDE_BLOCK = re.compile(r"(</?(?:p|ul|ol|li|h[1-6])>)[ \t\r]*\n\s*|[ \t\r]*\n\s*(?=</?(?:p|ul|ol|li|h[1-6])>)")


def unwrapped(description: str) -> str:
    """Return a description without the line breaks that Moodle's editor puts around paragraphs and lists.

    Whoever opens an object in a browser and saves it, whatever they meant to change, saves the description in the
    form of the editor (TinyMCE as Moodle 4.5 sets it up writes each block on a line of its own): that is nobody's
    edit. What the bridge writes has no such breaks.
    """
    if "\n" not in description:
        return description
    return _BESIDE_BLOCK.sub(lambda found: found[1] or "", description).strip()


def fold(idnumber: str) -> str:
    """Return an ID number as Moodle's database compares it: without case, accents and trailing spaces.

    Observed for case, accents and trailing spaces (contracts/moodle-4.5, Encoding); characters beyond the basic plane
    all count as the same one in the collation that MySQL and MariaDB give Moodle.
    """
    spread = unicodedata.normalize("NFKD", idnumber.rstrip(" "))
    kept = "".join(letter for letter in spread if not unicodedata.combining(letter))
    return "".join("\ufffd" if ord(letter) > 0xFFFF else letter for letter in kept.casefold())


def unescaped(text: str) -> str:
    """Return a display-formatted text as plain characters."""
    return html.unescape(text)
