# SPDX-License-Identifier: MIT
"""Holds a document of `pagestuff -a --json` against what readelf says about the same file.

Reads readelf's text only; shares nothing with the tool. Called by the tests of tests/cli.
"""
import json
import re
import subprocess

SECTION = re.compile(r"^  \[ *(\d+)\] (.*?) +([A-Z_0-9a-z.:<>+ ]+?) +([0-9a-f]{8,16}) ([0-9a-f]{6,}) "
                     r"([0-9a-f]{6,}) ([0-9a-f]+) +([A-Za-z]*) +(\d+) +(\d+) +(\d+)$")
SEGMENT = re.compile(r"^  (\S+) +0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+ 0x([0-9a-f]+) "
                     r"0x([0-9a-f]+) ")
SYMBOL = re.compile(r"^ *\d+: ([0-9a-f]{8,16}) +(?:0x)?[0-9a-f]+ (<[^>]*>: \S+|\S+) +"
                    r"(<[^>]*>: \S+|\S+) +\S+ +(?:\[.*?\] +)?"
                    r"(\S+) (.*)$")
NOT_PLACED = ("UND", "ABS", "COM", "COMMON")


class Wrong(Exception):
    """The document and readelf differ; the text says where."""


def need(condition, *what):
    if not condition:
        raise Wrong(" ".join(str(part) for part in what))


class Section:
    def __init__(self, match):
        self.name, self.type = match.group(2), match.group(3)
        self.address, self.offset, self.bytes = (int(match.group(i), 16) for i in (4, 5, 6))
        self.entry, self.flags = int(match.group(7), 16), match.group(8)
        self.in_file = self.type not in ("NOBITS", "NULL")


class Elf:
    """What `readelf -hlSsW` prints."""

    def __init__(self, path):
        done = subprocess.run(["readelf", "-hlSsW", path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.complaints = done.stderr.decode("utf-8", "replace")
        text = done.stdout.decode("utf-8", "replace")
        self.sections, self.segments, self.symbols = [], [], []
        self.header = {}
        for line in text.splitlines():
            self.read_line(line)

    def read_line(self, line):
        match = SECTION.match(line)
        if match:
            need(int(match.group(1)) == len(self.sections), "cannot parse readelf:", line)
            self.sections.append(Section(match))
            return
        match = SEGMENT.match(line)
        if match:
            kind = match.group(1)
            self.segments.append((kind,) + tuple(int(match.group(i), 16) for i in (2, 3, 4, 5)))
            return
        match = SYMBOL.match(line)
        if match:
            self.symbols.append((int(match.group(1), 16), match.group(2), match.group(4),
                                 match.group(5)))
            return
        match = re.match(r"^  ([A-Z][^:]+):\s+(.*)$", line)
        if match:
            self.header.setdefault(match.group(1), match.group(2))

    def number(self, key):
        return int(self.header[key].split()[0], 0)

    def headers(self):
        """{kind: (start, end)}"""
        found = {"elf_header": (0, self.number("Size of this header"))}
        for kind, word, count in (("program_headers", "program", len(self.segments)),
                                  ("section_headers", "section", len(self.sections))):
            start = self.number("Start of %s headers" % word)
            found[kind] = (start, start + count * self.number("Size of %s headers" % word))
        return found

    def is_relocatable(self):
        return self.header["Type"].startswith("REL")

    def thread_base(self):
        bases = [segment[2] for segment in self.segments if segment[0] == "TLS"]
        return 0 if self.is_relocatable() or not bases else bases[0]


def check_sections(document, elf):
    need(len(document["sections"]) == len(elf.sections), "sections", len(document["sections"]),
         "readelf", len(elf.sections))
    for ours, theirs in zip(document["sections"], elf.sections):
        if ours["index"] == 0:
            continue
        need((int(ours["address"], 16), ours["offset"], ours["bytes"]) ==
             (theirs.address, theirs.offset, theirs.bytes), "section", ours, vars(theirs))
        need(ours["name"] == theirs.name or len(theirs.name) > 200 or "\\x" in ours["name"],
             "section name", ours["name"], theirs.name)
    need([(s["type"] if not s["type"].startswith("0x") else s["type"][2:], s["offset"],
           int(s["address"], 16), s["file_bytes"], s["memory_bytes"])[1:]
          for s in document["segments"]] == [s[1:] for s in elf.segments], "segments differ")


def owner_of(piece, elf, headers):
    """The bytes of the file that belong to what a piece says it is part of."""
    if piece["kind"] == "section":
        section = elf.sections[piece["section"]]
        need(section.in_file, "bytes in a section without any:", piece)
        if "A" in section.flags and not elf.is_relocatable():
            need(int(piece["address"], 16) == section.address + piece["start"] - section.offset,
                 "address of", piece)
        return section.offset, section.offset + section.bytes
    if piece["kind"] in headers:
        return headers[piece["kind"]]
    if piece["kind"] == "segment":
        _, offset, _, file_bytes, _ = elf.segments[piece["segment"]]
        return offset, offset + file_bytes
    return piece["start"], piece["end"]


def named_spans(elf, headers):
    spans = [span for span in headers.values() if span[1] > span[0]]
    spans += [(section.offset, section.offset + section.bytes) for section in elf.sections
              if section.in_file and section.bytes]
    return sorted(spans)


def check_unnamed(piece, elf, bytes_of):
    """A piece that no header and no section names."""
    contents = bytes_of(piece["start"], piece["end"])
    uniform = contents.count(contents[:1]) == len(contents)
    if piece["kind"] == "padding":
        need(uniform, "padding of several values", piece)
    if piece["kind"] == "unnamed":
        need(any(contents), "zeros are padding:", piece)
        inside = [s for s in elf.segments if s[0] == "LOAD" and
                  s[1] < piece["end"] and piece["start"] < s[1] + s[3]]
        need(not inside, "lies in a segment:", piece)


def check_contents(document, elf, bytes_of):
    headers, at = elf.headers(), 0
    by_owner = {}
    unnamed = []
    for page in document["pages"]:
        need(page["start"] == at == page["page"] * document["target"]["page_bytes"], "gap at", at)
        for piece in page["contents"]:
            need(piece["start"] == at and piece["end"] > at, "gap before", piece)
            at = piece["end"]
            start, end = owner_of(piece, elf, headers)
            need(start <= piece["start"] and piece["end"] <= end, "not there:", piece)
            key = (piece["kind"], piece["section"])
            if piece["kind"] in ("section",) or piece["kind"] in headers:
                by_owner[key] = by_owner.get(key, 0) + piece["end"] - piece["start"]
            else:
                unnamed.append(piece)
        need(at == page["end"], "the page ends at", page["end"], "its contents at", at)
    need(at == document["target"]["file_bytes"], "the file ends at", at)
    for index, section in enumerate(elf.sections):
        if section.in_file:
            need(by_owner.get(("section", index), 0) == section.bytes, "section", index,
                 section.name, "has", section.bytes, "bytes; listed:",
                 by_owner.get(("section", index)))
    for kind, (start, end) in headers.items():
        need(by_owner.get((kind, None), 0) == end - start, kind, start, end)
    check_gaps(unnamed, named_spans(elf, headers), elf, bytes_of, document)


def check_gaps(unnamed, spans, elf, bytes_of, document):
    next_span = 0
    for piece in unnamed:
        while next_span < len(spans) and spans[next_span][1] <= piece["start"]:
            next_span += 1
        need(next_span == len(spans) or spans[next_span][0] >= piece["end"],
             "belongs to a section or header:", piece)
        if document["target"]["kind"] != "debug":
            check_unnamed(piece, elf, bytes_of)


def plain(name):
    """Without a version; as the tool makes names printable."""
    return name.split("@")[0]


def check_symbols(document, elf):
    ours, pages, count = set(), {}, 0
    page_bytes = document["target"]["page_bytes"]
    for page in document["pages"]:
        for part in page["ranges"]:
            for symbol in part["symbols"]:
                key = (int(symbol["address"], 16), plain(symbol["name"]))
                ours.add(key)
                pages.setdefault(key, set()).add(page["page"])
                count += 1
    for part in document["without_bytes"]:
        ours |= {(int(s["address"], 16), plain(s["name"])) for s in part["symbols"]}
        count += len(part["symbols"])
    need(count == document["target"]["symbol_count"] == document["totals"]["symbols"],
         "symbols listed", count, document["target"]["symbol_count"])
    theirs = set()
    for value, kind, section, name in elf.symbols:
        # readelf says of a name that is cut or wrong so in angle brackets.
        if kind in ("FILE", "SECTION") or section in NOT_PLACED or not section.isdigit() or \
                name.startswith("<") or not plain(name):
            continue
        if kind == "TLS":
            value += elf.thread_base()
        key = (value, plain(name))
        theirs.add(key)
        where = elf.sections[int(section)] if int(section) < len(elf.sections) else None
        if where and where.in_file and key in pages:
            base = 0 if elf.is_relocatable() else where.address
            if base <= value < base + where.bytes:
                need((where.offset + value - base) // page_bytes in pages[key], "page of", key)
    if document["target"]["embedded"]:
        need(theirs <= ours, "missing symbols", sorted(theirs - ours)[:5])
    else:
        need(ours == theirs, "symbols differ: ours alone", sorted(ours - theirs)[:5],
             "theirs alone", sorted(theirs - ours)[:5])


def check_relocations(document, elf):
    if elf.header["Type"].split()[0] not in ("EXEC", "DYN") or not elf.sections:
        return
    tables = [s for s in elf.sections if s.type in ("REL", "RELA", "RELR") and "A" in s.flags]
    if any(s.type == "RELR" for s in tables):
        return
    expected = sum(s.bytes // s.entry for s in tables if s.entry)
    found = document["totals"]["relocations"] + document["target"]["relocations_outside"]
    need(found == expected, "relocations", found, "readelf", expected)


def check_document(document, path):
    elf = Elf(path)
    with open(path, "rb") as file:
        def bytes_of(start, end):
            file.seek(start)
            return file.read(end - start)
        need(elf.number("Entry point address") >= 0)
        check_sections(document, elf)
        check_contents(document, elf, bytes_of)
    check_symbols(document, elf)
    check_relocations(document, elf)


def run_pagestuff(path, *options):
    """(status, document or None, what stands on stderr)"""
    done = subprocess.run(["heapwright", "pagestuff", "-a", "--json", *options, path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    document = json.loads(done.stdout) if done.stdout else None
    return done.returncode, document, done.stderr.decode("utf-8", "replace")


def check_file(path, *options):
    """Raises Wrong, or returns the document."""
    status, document, errors = run_pagestuff(path, *options)
    need(status in (0, 2) and document and not errors, "status", status, errors)
    need(status == (2 if document["warnings"] else 0), "status", status, document["warnings"])
    if not document["warnings"]:
        check_document(document, path)
    return document
