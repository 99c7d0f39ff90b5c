"""
IPTC's digital source type in a picture's XMP, whatever else that says.

XMP comes from outside. It is read by expat with every declaration of a document type refused, so that no entity is ever
expanded, and within limits of length, depth and number; only then it is made into a tree.
"""

from __future__ import annotations

from xml.dom import minidom
from xml.parsers import expat

LONGEST = 1_000_000
MOST_ELEMENTS = 20_000
DEEPEST = 100

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_PREFIX, _NAME = "Iptc4xmpExt", "DigitalSourceType"
_EMPTY = f'<x:xmpmeta xmlns:x="{META}"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = '<?xpacket end="w"?>'


class BadXmp(Exception):
    """It cannot be read safely; the message says why, as a part of a sentence."""


def with_source_type(xmp: bytes, term: str) -> bytes:
    """
    The packet with this digital source type, in place of any other.

    Args:
        xmp: A packet; empty for a new one.
        term: One of `recipe.SOURCE_TYPES`.

    Raises:
        BadXmp: if the packet is no XMP, or not safe to read.
    """
    document = _parsed(xmp or _EMPTY.encode())
    try:
        root = document.documentElement
        assert root is not None, "it was read to its end"
        found = (
            [root] if (root.namespaceURI, root.localName) == (RDF, "RDF") else root.getElementsByTagNameNS(RDF, "RDF")
        )
        if not found:
            raise BadXmp("holds no RDF")
        descriptions = found[0].getElementsByTagNameNS(RDF, "Description")
        for each in descriptions:
            if each.hasAttributeNS(EXT, _NAME):
                each.removeAttributeNS(EXT, _NAME)
        for old in found[0].getElementsByTagNameNS(EXT, _NAME):
            if old.parentNode is not None:
                old.parentNode.removeChild(old)
        about = document.createElementNS(RDF, _named(found[0], "Description"))
        about.setAttributeNS(RDF, _named(found[0], "about"), _subject(descriptions))
        about.setAttributeNS(_XMLNS, f"xmlns:{_PREFIX}", EXT)
        value = document.createElementNS(EXT, f"{_PREFIX}:{_NAME}")
        value.appendChild(document.createTextNode(TERMS + term))
        about.appendChild(value)
        found[0].appendChild(about)
        return f"{_BEGIN}{root.toxml()}{_END}".encode()
    finally:
        document.unlink()


def source_type(xmp: bytes) -> str | None:
    """
    The digital source type that a packet names, as its URI; None if it names none.

    Raises:
        BadXmp: as `with_source_type`.
    """
    document = _parsed(xmp)
    try:
        for each in document.getElementsByTagNameNS(EXT, _NAME):
            return "".join(node.data for node in each.childNodes if isinstance(node, minidom.Text)).strip()
        for each in document.getElementsByTagNameNS(RDF, "Description"):
            if each.hasAttributeNS(EXT, _NAME):
                return str(each.getAttributeNS(EXT, _NAME))
        return None
    finally:
        document.unlink()


def _named(rdf: minidom.Element, name: str) -> str:
    """With the prefix that RDF has here."""
    return f"{rdf.prefix}:{name}" if rdf.prefix else name


def _subject(descriptions: list[minidom.Element]) -> str:
    """All descriptions of a packet are about the same thing."""
    return next((each.getAttributeNS(RDF, "about") for each in descriptions if each.hasAttributeNS(RDF, "about")), "")


def _parsed(xmp: bytes) -> minidom.Document:
    data = xmp.strip(b"\0 \t\r\n")
    if len(data) > LONGEST:
        raise BadXmp(f"is longer than {LONGEST:,} bytes")
    _examine(data)
    try:
        return minidom.parseString(data)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise BadXmp(f"cannot be read ({error})") from None


def _examine(data: bytes) -> None:
    """Refuse what would grow while it is read."""
    depth = elements = 0

    def begin(_name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1 + len(attributes)
        if depth > DEEPEST or elements > MOST_ELEMENTS:
            raise BadXmp("is nested too deeply or has too many parts")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> int:
        raise BadXmp("declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise BadXmp(f"cannot be read ({error})") from None
