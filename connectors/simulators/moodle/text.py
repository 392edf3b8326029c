"""Text as Moodle stores, refuses and shows it.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Encoding): a description is refused unless it equals its own
HTML-purified form, a short name unless it is free of tags; answers are formatted for display unless
`moodlewssettingraw=1` is sent.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from html import escape, unescape
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

_SPACES = " \t\n\r\0\x0b"


def strip_tags(text: str, allowed: str = "") -> str:
    """Return the text without tags, by the rules of PHP's strip_tags.

    `<` opens a tag unless a space follows.
    """
    if "<" not in text:
        return text
    out: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char != "<" or (position + 1 < len(text) and text[position + 1] in " \t\n\r\x0b\x0c"):
            out.append(char)
            position += 1
            continue
        end = _end_of_tag(text, position)
        tag = text[position:end]
        if allowed and re.match(rf"</?{allowed}[\s>/]", tag):
            out.append(tag)
        position = end
    return "".join(out)


def _end_of_tag(text: str, start: int) -> int:
    depth = 0
    quote = ""
    for position in range(start + 1, len(text)):
        char = text[position]
        if quote:
            if char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == "<":
            depth += 1
        elif char == ">":
            if not depth:
                return position + 1
            depth -= 1
    return len(text)


_LANG = re.compile(r'<lang lang="[a-zA-Z0-9_-]+"\s*>\Z')
_SPAN = re.compile(r'<span(?:\s+lang="[a-zA-Z0-9_-]+"|\s+class="multilang"){2}\s*>\Z')


def clean_multilang(text: str) -> str:
    """Return the text as the type *text* leaves it: tags go, except those that mark languages."""
    if "<" not in text:
        return text
    for closing, allowed, opening in (("</lang>", "lang", _LANG), ("</span>", "span", _SPAN)):
        if closing in text:
            kept = strip_tags(text, allowed)
            is_open = False
            for tag in re.findall(r"<.*?>", kept, re.DOTALL):
                if tag == closing and is_open:
                    is_open = False
                elif tag != closing and opening.match(tag):
                    is_open = True
                else:
                    return strip_tags(text)
            return strip_tags(text) if is_open else kept
    return strip_tags(text)


def is_clean_html(text: str) -> bool:
    """Return whether a description would be stored as it is, hence accepted."""
    return purify(text).strip(_SPACES) == text


def _needs_purifying(text: str) -> bool:
    if "&" in text or re.search(r"<[^pesb/]", text):
        return True
    if not re.search(r"[<>]", text):
        return False
    altered = escape(text, quote=False)
    for tag in ("p", "em", "strong"):
        altered = re.sub(rf"&lt;{tag}&gt;(.*?)&lt;/{tag}&gt;", rf"<{tag}>\1</{tag}>", altered)
        if altered == text:
            return False
    return altered.replace("&lt;br /&gt;", "<br />") != text


@lru_cache(maxsize=4096)
def purify(text: str) -> str:
    """Return the text with only harmless, well-formed HTML left in it."""
    if not _needs_purifying(text):
        return text
    parser = _Purifier()
    parser.feed(text.replace("\r\n", "\n").replace("\r", "\n"))
    parser.close()
    return parser.result()


_VOID = {"br", "hr", "img"}
_INLINE = {
    "a",
    "abbr",
    "acronym",
    "b",
    "bdo",
    "big",
    "cite",
    "code",
    "del",
    "dfn",
    "em",
    "i",
    "ins",
    "kbd",
    "lang",
    "nolink",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "tex",
    "tt",
    "u",
    "var",
}
_BLOCK = {
    "address",
    "blockquote",
    "caption",
    "col",
    "colgroup",
    "dd",
    "div",
    "dl",
    "dt",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "ol",
    "p",
    "pre",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_PARENTS = {
    "li": {"ul", "ol"},
    "tr": {"table", "tbody", "thead", "tfoot"},
    "td": {"tr"},
    "th": {"tr"},
    "tbody": {"table"},
    "thead": {"table"},
    "tfoot": {"table"},
    "caption": {"table"},
    "dt": {"dl"},
    "dd": {"dl"},
}
_SILENT = {"script", "style", "iframe", "object", "embed", "form", "noscript", "title", "head"}
_ATTRIBUTES = {
    "a": {"href", "name", "rel", "rev"},
    "img": {"src", "alt", "width", "height", "border"},
    "td": {"colspan", "rowspan", "align", "valign"},
    "th": {"colspan", "rowspan", "align", "valign", "scope"},
    "ol": {"start", "type"},
    "blockquote": {"cite"},
    "table": {"border", "cellpadding", "cellspacing", "summary", "width"},
}
_GLOBAL_ATTRIBUTES = {"class", "title", "dir"}
_SCHEMES = re.compile(
    r"(?:https?|ftp|mailto|news|nntp|rtsp|rtmp|teamspeak|gopher|mms|callto|tel|irc):|[^:]*\Z|[^:/?#]*[/?#]",
    re.I,
)


class _Purifier(HTMLParser):
    """Rewrites HTML so that only known elements and attributes stay, closed and nested properly."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[str] = []
        self._skipping = ""

    def result(self) -> str:
        """Return the rewritten text, with everything closed."""
        while self._open:
            self._out.append(f"</{self._open.pop()}>")
        return "".join(self._out)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a known element with its known attributes."""
        if self._skipping:
            return
        if tag in _SILENT:
            self._skipping = tag
            return
        if tag not in _VOID and tag not in _INLINE and tag not in _BLOCK:
            return
        if tag in _BLOCK:
            while self._open and (self._open[-1] == "p" or (self._open[-1] == tag and tag in _PARENTS)):
                self._out.append(f"</{self._open.pop()}>")
        if tag in _PARENTS and (not self._open or self._open[-1] not in _PARENTS[tag]):
            return
        if tag in _BLOCK and self._open and self._open[-1] in _INLINE | _HEADINGS:
            return
        kept = "".join(self._attributes(tag, attrs))
        if tag == "img":
            if "src=" not in kept:
                return
            if "alt=" not in kept:
                kept += ' alt="' + (dict(attrs).get("src") or "").rsplit("/", 1)[-1] + '"'
        if tag in _VOID:
            self._out.append(f"<{tag}{kept} />")
            return
        self._out.append(f"<{tag}{kept}>")
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Treat a self-closed element as opened and closed."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close an element and whatever is still open inside it."""
        if self._skipping:
            if tag == self._skipping:
                self._skipping = ""
            return
        if tag not in self._open:
            return
        while self._open:
            last = self._open.pop()
            self._out.append(f"</{last}>")
            if last == tag:
                return

    def handle_data(self, data: str) -> None:
        """Keep text, escaped, where text may stand."""
        if self._skipping:
            return
        if (
            self._open
            and self._open[-1] in {"ul", "ol", "dl", "table", "tbody", "thead", "tfoot", "tr"}
            and data.strip()
        ):
            return
        self._out.append(escape(_printable(data), quote=False))

    def _attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> list[str]:
        given = dict(attrs)
        language = given.get("lang") or ""
        if tag == "span" and given.get("class") == "multilang" and re.fullmatch(r"[a-zA-Z0-9_-]+", language):
            return [f' lang="{language}"', ' class="multilang"']
        kept = []
        for name, value in attrs:
            if name not in _GLOBAL_ATTRIBUTES and name not in _ATTRIBUTES.get(tag, ()):
                continue
            content = value or ""
            if name in ("href", "src") and not _SCHEMES.match(content):
                continue
            kept.append(f' {name}="{escape(content, quote=False).replace(chr(34), "&quot;")}"')
        return kept


def _printable(data: str) -> str:
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", data)


_BARE_AMPERSAND = re.compile(r"&(?![a-zA-Z0-9#]{1,8};)")


def format_string(text: str) -> str:
    """Return a name as Moodle shows it: tags gone, the rest escaped."""
    text = _BARE_AMPERSAND.sub("&amp;", text)
    if "<" in text or ">" in text:
        text = strip_tags(text).replace("<", "&lt;").replace(">", "&gt;")
    return text


def format_text(text: str, form: int) -> str:
    """Return a description as Moodle shows it, by its format (0 plain with breaks, 1 HTML, 2 plain.

    4 Markdown).
    """
    if not text:
        return ""
    if form == 2:
        shown = escape(text, quote=True).replace("&#x27;", "&#039;").replace("  ", "&nbsp; ")
        return _break_lines(shown)
    if form == 4:
        return purify(markdown(text))
    if form == 0:
        return _break_lines(re.sub(r">\s+<", "><", text))
    return purify(text)


def _break_lines(text: str) -> str:
    return re.sub(r"\r\n|\n|\r", lambda match: "<br />" + match.group(), text)


def markdown(text: str) -> str:
    """Return the HTML of the Markdown people write in descriptions.

    Headings, lists, paragraphs, emphasis, links, code.
    """
    blocks: list[str] = []
    for block in re.split(r"\n[ \t]*\n+", text.replace("\r\n", "\n").strip("\n")):
        lines = block.split("\n")
        heading = re.match(r"(#{1,6})\s*(.+?)\s*#*$", lines[0])
        if heading:
            level = len(heading.group(1))
            blocks.append(f"<h{level}>{_markdown_inline(heading.group(2))}</h{level}>")
            lines = lines[1:]
        if not lines:
            continue
        for tag, marker in (("ul", r"[*+-]\s+"), ("ol", r"\d+\.\s+")):
            if all(re.match(marker, line) for line in lines):
                items = "".join(f"<li>{_markdown_inline(re.sub('^' + marker, '', line))}</li>\n" for line in lines)
                blocks.append(f"<{tag}>\n{items}</{tag}>")
                break
        else:
            content = "\n".join(lines)
            blocks.append(content if content.startswith("<") else f"<p>{_markdown_inline(content)}</p>")
    return "\n\n".join(blocks) + "\n"


def _markdown_inline(text: str) -> str:
    text = _BARE_AMPERSAND.sub("&amp;", text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"(?<!\*)\*([^*\s][^*]*)\*", r"<em>\1</em>", text)
    return re.sub(r"  \n", "<br />\n", text)


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def format_date(timestamp: int, timezone: str = "UTC", pattern: str = "full") -> str:
    """Return a time as Moodle's English writes it, to the minute (`full`), or as `date` or `shortdate`."""
    zone = UTC if timezone in ("UTC", "99", "") else ZoneInfo(timezone)
    at = datetime.fromtimestamp(timestamp, zone)
    month = _MONTHS[at.month - 1]
    if pattern == "date":
        return f"{at.day} {month} {at.year}"
    if pattern == "shortdate":
        return f"{at.day} {month[:3]} {at.year}"
    half = "AM" if at.hour < 12 else "PM"
    return f"{_DAYS[at.weekday()]}, {at.day} {month} {at.year}, {at.hour % 12 or 12}:{at.minute:02d} {half}"


def plain(text: str) -> str:
    """Return shown text without its escapes, as in a spreadsheet cell."""
    return unescape(strip_tags(text))
