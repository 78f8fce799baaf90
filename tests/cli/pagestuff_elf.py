# SPDX-License-Identifier: MIT
"""Writes small ELF files of any class, byte order and machine, sound or damaged as a test wants them.

A file is a program with code, data, symbols and relocations at known places; nothing of it is ever run.
"""
import struct

BASE = 0x10000
PAGE = 0x1000
LOAD, R, W, X = 1, 4, 2, 1
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL, RELR = 1, 2, 3, 4, 8, 9, 19
WRITE, ALLOC, EXEC = 1, 2, 4
EM_MIPS = 8
FUNC, OBJECT = 2, 1
SHN_XINDEX = 0xffff


class Section:
    def __init__(self, name, kind, flags=0, contents=b"", address=0, link=0, entry=0, bytes_=None,
                 info=0):
        self.name, self.kind, self.flags, self.contents = name, kind, flags, contents
        self.address, self.link, self.entry, self.info = address, link, entry, info
        self.bytes = len(contents) if bytes_ is None else bytes_
        self.offset = 0
        self.name_offset = None  # of another name than its own
        self.entry_override = None


class Elf:
    """Sections are written one after the other, each at a multiple of 16, those with an address where the
    page allows it; then the section headers."""

    def __init__(self, wide=True, big=False, machine=62, kind=2):
        self.wide, self.order, self.machine, self.kind = wide, ">" if big else "<", machine, kind
        self.sections = [Section("", 0)]
        self.segments = []  # (type, flags, offset, address, file bytes, memory bytes)
        self.names = b"\0"
        self.header = {}    # fields that shall be wrong
        self.counted_in_section = False

    def pack(self, form, *values):
        return struct.pack(self.order + form, *values)

    def word(self, value):
        return self.pack("Q" if self.wide else "I", value)

    def add(self, section):
        self.sections.append(section)
        return len(self.sections) - 1

    def symbol(self, name, value, size, kind, section, binding=1):
        info = binding << 4 | kind
        if self.wide:
            return self.pack("IBBHQQ", name, info, 0, section, value, size)
        return self.pack("IIIBBH", name, value, size, info, 0, section)

    def relocation(self, place, symbol, kind, addend=0):
        if not self.wide:
            return self.pack("IIi", place, symbol << 8 | kind, addend)
        if self.machine == EM_MIPS:
            # A symbol of four bytes, then four of one.
            return self.pack("QI", place, symbol) + bytes((0, 0, 0, kind)) + self.pack("q", addend)
        return self.pack("QQq", place, symbol << 32 | kind, addend)

    def sizes(self):
        return (64, 56, 64) if self.wide else (52, 32, 40)

    def elf_header(self, section_table):
        head, segment, section = self.sizes()
        count, names = len(self.sections), len(self.sections) - 1
        if self.counted_in_section:
            self.sections[0].bytes, self.sections[0].link = count, names
            count, names = 0, SHN_XINDEX
        fields = dict(e_phoff=head if self.segments else 0, e_shoff=section_table, e_phentsize=segment,
                      e_phnum=len(self.segments), e_shentsize=section, e_shnum=count, e_shstrndx=names)
        fields.update(self.header)
        ident = bytes([0x7f]) + b"ELF" + bytes((2 if self.wide else 1, 2 if self.order == ">" else 1,
                                               1)) + bytes(9)
        return ident + self.pack("HHI", self.kind, self.machine, 1) + self.word(BASE) + \
            self.word(fields["e_phoff"]) + self.word(fields["e_shoff"]) + \
            self.pack("IHHHHHH", 0, head, fields["e_phentsize"], fields["e_phnum"],
                      fields["e_shentsize"], fields["e_shnum"], fields["e_shstrndx"])

    def program_header(self, kind, flags, offset, address, file_bytes, memory_bytes):
        if self.wide:
            return self.pack("IIQQQQQQ", kind, flags, offset, address, address, file_bytes,
                             memory_bytes, PAGE)
        return self.pack("IIIIIIII", kind, offset, address, address, file_bytes, memory_bytes, flags,
                         PAGE)

    def section_header(self, section, name):
        form = "IIQQQQIIQQ" if self.wide else "IIIIIIIIII"
        return self.pack(form, name, section.kind, section.flags, section.address, section.offset,
                         section.bytes, section.link, section.info, 1, section.entry)

    def image(self):
        """The bytes of the file. A name table is added as the last section."""
        head, segment, _ = self.sizes()
        table, places = b"\0", []
        names = Section(".shstrtab", STRTAB)
        for section in self.sections + [names]:
            places.append(len(table) if section.name else 0)
            table += section.name.encode("latin-1") + b"\0"
        names.contents, names.bytes = table, len(table)
        self.sections.append(names)
        body = bytearray(head + segment * len(self.segments))
        for section in self.sections[1:]:
            place = len(body) + -len(body) % 16
            if section.address:
                place += (section.address - place) % PAGE
            section.offset = place
            if section.kind != NOBITS:
                body += bytes(place - len(body)) + section.contents
        body += bytes(-len(body) % 8)
        table_at = len(body)
        head_bytes = self.elf_header(table_at)
        for section, place in zip(self.sections, places):
            body += self.section_header(
                section, place if section.name_offset is None else section.name_offset)
        body[:len(head_bytes)] = head_bytes
        self.section_table = table_at
        self.patch_segments(body, head)
        return bytes(body)

    def patch_segments(self, body, at):
        for kind, flags, first, last in self.segments:
            start, end = self.sections[first], self.sections[last]
            in_file = end.offset if end.kind == NOBITS else end.offset + end.bytes
            row = self.program_header(kind, flags, start.offset, start.address,
                                      in_file - start.offset,
                                      end.address + end.bytes - start.address)
            body[at:at + len(row)] = row
            at += len(row)


def names_table(names):
    """(bytes, {name: offset})"""
    table, places = b"\0", {}
    for name in names:
        places[name] = len(table)
        table += name.encode("utf-8", "surrogateescape") + b"\0"
    return table, places


def program(wide=True, big=False, machine=62, names=("main", "main.cold", "table", "buffer")):
    """A sound program: two pages of code, data with relocations, .bss, symbols."""
    elf = Elf(wide, big, machine)
    table, places = names_table(names)
    code = elf.add(Section(".text", PROGBITS, ALLOC | EXEC, b"\x90" * 5000, BASE))
    data = elf.add(Section(".data", PROGBITS, WRITE | ALLOC, bytes(range(256)) * 20, BASE + 0x3000))
    bss = elf.add(Section(".bss", NOBITS, WRITE | ALLOC, b"", BASE + 0x3000 + 5120, bytes_=999))
    rows = [elf.symbol(0, 0, 0, 0, 0),
            elf.symbol(places[names[0]], BASE, 100, FUNC, code),
            elf.symbol(places[names[1]], BASE + 0x1004, 50, FUNC, code),
            elf.symbol(places[names[2]], BASE + 0x3010, 8, OBJECT, data),
            elf.symbol(places[names[3]], BASE + 0x3000 + 5120, 999, OBJECT, bss)]
    symtab = Section(".symtab", SYMTAB, 0, b"".join(rows), link=5, entry=len(rows[0]), info=1)
    elf.add(symtab)
    elf.add(Section(".strtab", STRTAB, 0, table))
    relocations = [elf.relocation(BASE + 0x3010, 0, 8), elf.relocation(BASE + 0x3018, 1, 1),
                   elf.relocation(BASE + 0x4010, 0, 8)]
    elf.add(Section(".rela.dyn", RELA, ALLOC, b"".join(relocations), BASE + 0x5000,
                    entry=len(relocations[0])))
    # A place, and the three words behind it but one.
    elf.add(Section(".relr.dyn", RELR, ALLOC, elf.word(BASE + 0x3020) + elf.word(0b1011),
                    BASE + 0x6000, entry=8 if wide else 4))
    elf.segments = [(LOAD, R | X, code, code), (LOAD, R | W, data, bss)]
    return elf
