# SPDX-License-Identifier: MIT
"""A second reader of logs, written from docs/log-format.md alone.

usage: log_reader.py FILE        prints what is in the log, one line per thing, as log_dump.c does

It checks what the page tells a reader to check and ends with a Damaged when something is wrong.
"""
import ctypes
import ctypes.util
import struct
import sys
import zlib

M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
NO_THREAD = (1 << 24) - 1  # as log_dump.c shows it
GOLDEN = 0x9e3779b97f4a7c15
KINDS = {1: "process", 2: "nodes", 3: "tables", 4: "events", 5: "live", 6: "note", 7: "index"}


class Damaged(Exception):
    pass


def check(fine, what):
    if not fine:
        raise Damaged(what)


def library():
    found = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    found.ZSTD_decompress.restype = ctypes.c_size_t
    found.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                      ctypes.c_size_t]
    return found


ZSTD = library()


def unfold(value):
    return (value >> 1) ^ -(value & 1)


class Bytes:
    """A cursor over bytes."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def varint(self):
        value = shift = 0
        while True:
            check(self.at < len(self.data) and shift < 70, "a varint has no end")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value & M64

    def take(self, count):
        check(count <= len(self.data) - self.at, "bytes are missing")
        self.at += count
        return self.data[self.at - count:self.at]

    def text(self):
        return self.take(self.varint())

    def column(self):
        length = self.varint()
        stored = self.take(self.varint())
        check(length // 65536 <= len(stored) <= length, "a column has an impossible length")
        if len(stored) == length:
            return Bytes(stored)
        buffer = ctypes.create_string_buffer(length)
        check(ZSTD.ZSTD_decompress(buffer, length, stored, len(stored)) == length,
              "a column cannot be unpacked")
        return Bytes(buffer.raw)

    def ended(self):
        return self.at == len(self.data)


class Block:
    def __init__(self, data, offset):
        check(len(data) - offset >= 64, "cut off")
        raw = data[offset:offset + 64]
        (magic, self.kind, self.count, front, body, self.first, self.first_ns, self.last_ns,
         front_sum, body_sum, _, own_sum) = struct.unpack("<4sIIIQQQQIIII", raw)
        check(magic == b"HBlk" and zlib.crc32(raw[:60]) == own_sum, "a header is damaged")
        check(front <= 1 << 20 and front + body <= len(data) - offset - 64, "cut off")
        self.header = raw
        self.offset = offset
        self.front = data[offset + 64:offset + 64 + front]
        self.body = data[offset + 64 + front:offset + 64 + front + body]
        self.end = offset + 64 + front + body
        check(zlib.crc32(self.front) == front_sum, "a front is damaged")
        check(zlib.crc32(self.body) == body_sum, "a body is damaged")


# --- events ------------------------------------------------------------------------------------

class Context:
    """What is learnt of a thread."""

    def __init__(self):
        self.pair = self.pair_before = 0
        self.bump = 0
        self.freed_address = 0      # what it freed last
        self.freed_number = 0       # 0: no block of this block of events
        self.freed_older = self.freed_younger = 0
        self.old = self.stride = 0
        self.other = 0
        self.youngest = 0


class Memory:
    """A block of memory allocated in this block of events."""

    def __init__(self, address=0, chunks=0, context=0, older=0):
        self.address = address
        self.chunks = chunks
        self.context = context
        self.freed_by = 0
        self.older = older
        self.younger = 0
        self.live = bool(chunks)


class Events:
    def __init__(self, count, unit, first_unit, body):
        self.bits = 6
        while self.bits < 13 and 1 << self.bits < count:
            self.bits += 1
        (self.how, self.times, self.threads, self.nodes, self.kinds, self.values, self.rare,
         self.addresses, self.ages, self.olds, self.others) = self.columns = \
            [body.column() for _ in range(11)]
        self.count, self.unit, self.units = count, unit, first_unit
        self.one, self.two = {}, {}
        self.remembered = {}        # place -> [bytes, extra, type, age]
        self.classes = {}           # place -> [stack of freed numbers, next]
        self.contexts = [Context() for _ in range(256)]
        self.blocks = [Memory()]
        self.top_node = 0
        self.thread = 0

    def place(self, key):
        return (key * GOLDEN & M64) >> (64 - self.bits)

    def class_of(self, chunks, number):
        return self.classes.setdefault(self.place(chunks * 256 + number), [[], 0])

    @staticmethod
    def distance(column):
        value = column.varint()
        far = (value >> 2) * 16
        if value & 1:
            far += column.varint()
        return -far if value & 2 else far

    def pair(self, how, context):
        one = self.place(context.pair)
        two = self.place(3 * context.pair_before + context.pair & M64)
        if how & 3 == 0:
            pair = self.two.get(two, 0)
        elif how & 3 == 1:
            pair = self.one.get(one, 0)
        else:
            told = self.nodes.varint()
            node = self.top_node + 1 + told if how & 3 == 2 else self.top_node - told
            pair = (node & M32) << 8 | self.kinds.take(1)[0]
        self.one[one] = self.two[two] = pair
        context.pair_before, context.pair = context.pair, pair
        self.top_node = max(self.top_node, pair >> 8)
        return pair

    def allocation(self, place, number, size):
        context = self.contexts[number]
        chunks = max(((size + 23 & M64) // 16) & M32, 2)
        stack, following = class_ = self.class_of(chunks, number)
        if place == 0:
            address = self.blocks[stack[-1]].address if stack else 0
        elif place == 1:
            address = context.bump
        elif place == 2:
            address = context.freed_address
            last = context.freed_number
            if last:
                of_last = self.class_of(self.blocks[last].chunks, self.blocks[last].freed_by)[0]
                if of_last and of_last[-1] == last:
                    of_last.pop()
        elif place == 3:
            address = self.blocks[stack[-2]].address if len(stack) > 1 else 0
            if len(stack) > 1:
                del stack[-2]
        elif place == 4:
            address = following
        else:
            check(place == 7, "a place means nothing")
            address = context.bump + self.distance(self.addresses) & M64
        if place in (0, 1, 7) and stack:
            stack.pop()
        class_[1] = address + 16 * chunks & M64
        if place in (1, 7):
            context.bump = class_[1]
        block = Memory(address, chunks, number, context.youngest)
        self.blocks.append(block)
        if context.youngest:
            self.blocks[context.youngest].younger = len(self.blocks) - 1
        context.youngest = len(self.blocks) - 1
        return address

    def free(self, place, number, memory):
        context = self.contexts[number]
        youngest = len(self.blocks) - 1
        if place in (5, 7):
            address = context.old + (context.stride if place == 5 else self.distance(self.olds))
            address &= M64
            context.stride = address - context.old
            context.old = context.freed_address = address
            context.freed_number = 0
            return address
        check(place <= 4, "a place means nothing")
        told = self.ages.varint() if place == 4 else 0
        freed = (youngest - memory[3], context.youngest, context.freed_older,
                 context.freed_younger, youngest - told)[place]
        check(0 < freed <= youngest and self.blocks[freed].live, "a block is freed that is not")
        memory[3] = youngest - freed
        block = self.blocks[freed]
        block.live = False
        block.freed_by = number
        if block.older:
            self.blocks[block.older].younger = block.younger
        if block.younger:
            self.blocks[block.younger].older = block.older
        else:
            self.contexts[block.context].youngest = block.older
        context.freed_older, context.freed_younger = block.older, block.younger
        context.freed_address, context.freed_number = block.address, freed
        self.class_of(block.chunks, number)[0].append(freed)
        return block.address

    def event(self):
        how = self.how.take(1)[0]
        self.units += self.times.varint()
        if how & 64:
            self.thread = self.threads.varint() & M32
        number = self.thread % 256
        context = self.contexts[number]
        pair = self.pair(how, context)
        node, kind = pair >> 8, pair & 255
        memory = self.remembered.setdefault(self.place(pair), [0, 0, 0, 0])
        frees, allocates = kind in (8, 9), 1 <= kind <= 4
        if how & 4:
            value = self.values.varint()
            if frees:
                memory[2] = value & M32
            else:
                memory[0] = value
        if how & 128:
            memory[1] = self.rare.varint() & M32
            if frees:
                memory[0] = self.rare.varint()
            else:
                memory[2] = self.rare.varint() & M32
        size, extra, type_ = memory[:3]
        place = how >> 3 & 7
        if allocates:
            address = self.allocation(place, number, size)
        elif frees:
            address = self.free(place, number, memory)
        else:
            check(place == 0, "a place means nothing")
            address = context.other = context.other + self.distance(self.others) & M64
        return (self.units * self.unit, self.thread, kind, address, size, node, extra, type_)

    def all(self):
        check(len(self.how.data) == self.count, "a column has another length")
        for _ in range(self.count):
            yield self.event()
        check(all(column.ended() for column in self.columns), "a column has more than its events")


# --- the log -----------------------------------------------------------------------------------

def is_complete(path):
    """Whether a log is there and was closed; one that was just begun may be shorter than its head."""
    try:
        return Log(path).complete
    except (Damaged, OSError):
        return False


class Log:
    """blocks: those of the file up to where it is whole; complete: it was closed."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        check(len(self.data) >= 24 and self.data[:8] == b"HWLOG\r\n\x1a", "no log")
        version, self.unit, _, own_sum = struct.unpack_from("<IIII", self.data, 8)
        check(version == 2, "another version")
        check(zlib.crc32(self.data[:20]) == own_sum, "the head is damaged")
        self.blocks = []
        self.nodes = [(0, 0)]
        self.modules, self.threads, self.types = [], [], [0]
        self.process = None
        offset = 24
        while offset < len(self.data):
            try:
                block = Block(self.data, offset)
            except Damaged as damaged:
                if str(damaged) == "cut off":
                    break
                raise
            self.blocks.append(block)
            offset = block.end
        self.complete = bool(self.blocks) and self.blocks[-1].kind == 7
        for block in self.blocks:
            getattr(self, "take_" + KINDS.get(block.kind, "other"))(block)

    def take_process(self, block):
        column = Bytes(block.body).column()
        numbers = [column.varint() for _ in range(9)]
        self.process = numbers, [column.text() for _ in range(6)]

    def take_nodes(self, block):
        body = Bytes(block.body)
        parents, numbers, news = (body.column() for _ in range(3))
        first, codes, code = block.first, [], 0
        check(first == len(self.nodes), "nodes are not in order")
        for _ in range(block.count):
            node = len(self.nodes)
            told = parents.varint()
            parent = node - 1
            if told % 2:
                parent = node - told // 2
                check(0 <= parent < node, "a node's parent is not above it")
            else:
                check(told // 2 < 256, "too many steps")
                for _ in range(told // 2):
                    check(parent >= first, "a step leaves the block")
                    parent = self.nodes[parent][1]
            number = numbers.varint()
            if not number:
                code = code + unfold(news.varint()) & M64
                codes.append(code)
                number = len(codes)
            check(number <= len(codes), "a code is not there")
            self.nodes.append((codes[number - 1], parent))

    def take_tables(self, block):
        column = Bytes(block.body).column()
        for _ in range(block.count):
            kind, index = column.varint(), column.varint()
            if kind == 1:
                check(index == len(self.modules), "modules are not in order")
                numbers = [column.varint() for _ in range(7)]
                build_id = column.take(column.varint())
                self.modules.append(numbers + [build_id, column.text()])
            elif kind == 2:
                self.modules[index][4] = column.varint()
            elif kind == 3:
                check(index == len(self.threads), "threads are not in order")
                self.threads.append([column.varint(), column.varint(), column.text()])
            elif kind == 4:
                self.threads[index][2] = column.text()
            else:
                check(kind == 5 and index == len(self.types), "types are not in order")
                self.types.append(column.varint())

    def take_index(self, block):
        body = Bytes(block.body)
        column = body.column()
        check(body.take(16) == struct.pack("<Q8s", block.offset, b"HWLOGEND"), "no end")
        for other in self.blocks[:-1]:
            check(column.take(64) == other.header, "the index has another header")
            if other.kind == 4:
                front = Bytes(other.front)
                check([column.varint() for _ in range(12)] ==
                      [front.varint() for _ in range(12)], "the index has another summary")
        check(column.ended(), "the index has more than the blocks")

    def take_events(self, block):
        pass

    take_live = take_note = take_other = take_events

    def summary(self, block):
        """The twelve numbers, with the live bytes at the end and the highest address worked out."""
        front = Bytes(block.front)
        numbers = [front.varint() for _ in range(12)]
        numbers[6] = numbers[5] - unfold(numbers[6]) & M64
        numbers[11] += numbers[10]
        return numbers

    def filter(self, block):
        """Runs of pages (first page, page behind), shift of addresses to granules, their lines."""
        front = Bytes(block.front)
        for _ in range(12):
            front.varint()
        runs, end = [], 0
        for _ in range(front.varint()):
            start = end + front.varint()
            end = start + front.varint()
            runs.append((start, end))
        shift = front.varint()
        check(shift < 64, "a granule is larger than memory")
        lines = front.take(64 * front.varint()) if shift else b""
        check(front.ended(), "a filter has more than its granules")
        return runs, shift, lines

    @staticmethod
    def may_hold(filter_, address):
        runs, shift, lines = filter_
        if any(start <= address >> 12 < end for start, end in runs):
            return True
        if not shift:
            return False
        hash_ = (address >> shift) * GOLDEN & M64
        hash_ ^= hash_ >> 32
        line = 64 * ((hash_ & M32) * (len(lines) // 64) >> 32)
        bits = (hash_ * GOLDEN & M64) >> 28
        return all(lines[line + (bits >> at & 511) // 8] >> (bits >> at & 7) & 1
                   for at in (0, 9, 18, 27))

    def events(self, block):
        """The events of a block as tuples: time, thread, kind, address, bytes, node, extra, type."""
        body = Bytes(block.body)
        events = Events(block.count, self.unit, block.first_ns // self.unit, body)
        for event in events.all():
            check(event[1] < len(self.threads) and event[5] < len(self.nodes) and
                  event[7] < len(self.types), "an event names what is not there")
            yield event
        self.texts = []
        count, column, number = body.varint(), body.column(), block.first
        for _ in range(count):
            number += column.varint()
            self.texts.append((number, column.text()))

    def live(self, block):
        columns = Bytes(block.body)
        addresses, sizes, nodes, kinds = (columns.column() for _ in range(4))
        threads = columns.column() if block.first & 2 else None
        address = 0
        for _ in range(block.count):
            address = address + unfold(addresses.varint()) & M64
            thread = threads.varint() if threads else 0
            check(thread <= len(self.threads), "a live block names a thread that is not there")
            yield (address, sizes.varint(), nodes.varint(), kinds.take(1)[0],
                   thread - 1 if thread else NO_THREAD)

    @staticmethod
    def note(block):
        return Bytes(block.body).column().data


def quoted(text):
    return "".join(chr(byte) if 32 < byte < 127 and byte != 92 else "\\%03o" % byte for byte in text)


def signed(value):
    return value - (1 << 32) if value >> 31 & 1 else value


def lines(log):
    numbers, texts = log.process
    yield "process %d %d %d %d %d %d %d %d %d" % tuple(
        [signed(numbers[0])] + numbers[1:8] + [signed(numbers[8])])
    for text in texts:
        yield "text " + quoted(text)
    for code, parent in log.nodes[1:]:
        yield "node %x %d" % (code, parent)
    for start, size, bias, loaded, unloaded, device, inode, build_id, path in log.modules:
        yield "module %x %x %x %d %d %d %d %s %s" % (start, start + size & M64, bias, loaded,
                                                     unloaded, device, inode, build_id.hex() or "-",
                                                     quoted(path))
    for id_, first, name in log.threads:
        yield "thread %d %d %s" % (signed(id_), first, quoted(name))
    for word in log.types[1:]:
        yield "type %x" % word
    for block in log.blocks:
        if block.kind == 4:
            yield "block %d %d %d %d %s" % (block.first, block.count, block.first_ns,
                                            block.last_ns,
                                            " ".join(map(str, log.summary(block))))
            for event in log.events(block):
                yield "%d %d %d %x %d %d %d %d" % event
            for number, text in log.texts:
                yield "text %d %s" % (number, quoted(text))
        elif block.kind == 5:
            yield "live %d %d %d" % (block.first_ns, block.count, block.first & 1)
            for entry in log.live(block):
                yield "%x %d %d %d %d" % entry
    for block in log.blocks:
        if block.kind == 6:
            yield "note %d %d %s" % (block.first, block.first_ns, quoted(log.note(block)))


def main(arguments):
    log = Log(arguments[1])
    sys.stdout.writelines(line + "\n" for line in lines(log))
    print("complete" if log.complete else "not complete")


if __name__ == "__main__":
    main(sys.argv)
