# SPDX-License-Identifier: MIT
"""What the kernel tells about the machine, read by a second, independent reader, and small copies of proc
and sys of machines that this one is not."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "planted"))
import planted
from planted import Failure

PAGE = os.sysconf("SC_PAGE_SIZE")

# The lines of vm_stat as docs/vm-stat-on-linux.md defines them: pages, or events.
GAUGES = {
    "free_pages": lambda k: k["nr_free_pages"],
    "active_pages": lambda k: k["nr_active_anon"] + k["nr_active_file"],
    "inactive_pages": lambda k: k["nr_inactive_anon"] + k["nr_inactive_file"],
    "wired_pages": lambda k: (k["nr_unevictable"] + k["nr_slab_unreclaimable"]
                              + k["nr_page_table_pages"] + k.get("nr_sec_page_table_pages", 0)
                              + (k["KernelStack"] + k["Percpu"] + k["Hugetlb"]) // PAGE),
    "purgeable_pages": lambda k: max(0, k["nr_active_file"] + k["nr_inactive_file"]
                                     + k["nr_isolated_file"] + k["nr_shmem"] + k["nr_swapcached"]
                                     - k["nr_file_pages"]),
    "file_backed_pages": lambda k: k["nr_file_pages"] - k["nr_shmem"] - k["nr_swapcached"],
    "anonymous_pages": lambda k: k["nr_anon_pages"] + k["nr_shmem"],
    "compressor_stored_pages": lambda k: (k.get("Zswapped", 0) + k["zram"][0]) // PAGE,
    "compressor_occupied_pages": lambda k: (k.get("Zswap", 0) + k["zram"][1]) // PAGE,
}
TOTALS = {
    "faults": lambda k: k["pgfault"],
    "reactivated_pages": lambda k: k["pgactivate"],
    "purged_pages": lambda k: k["pglazyfreed"],
    "decompressions": lambda k: k.get("zswpin", 0) + k["zram"][2] // PAGE,
    "compressions": lambda k: k.get("zswpout", 0) + k["zram"][3] // PAGE,
    "pageins": lambda k: k["pgpgin"] * 1024 // PAGE,
    "pageouts": lambda k: k["pgpgout"] * 1024 // PAGE,
    "swapins": lambda k: k["pswpin"],
    "swapouts": lambda k: k["pswpout"],
}
UNCOUNTED = {"speculative_pages", "throttled_pages", "copied_pages", "zero_filled_pages"}


def read(path):
    with open(path, errors="surrogateescape") as file:
        return file.read()


def kernel(root=""):
    """Every counter: vmstat as it is, meminfo in bytes, zram of the swap devices."""
    found = {name: int(value) for name, value in
             (line.split() for line in read(root + "/proc/vmstat").splitlines())}
    for line in read(root + "/proc/meminfo").splitlines():
        words = line.replace(":", " ").split()
        found[words[0]] = int(words[1]) * (1024 if words[-1] == "kB" else 1)
    zram = [0, 0, 0, 0]
    for line in read(root + "/proc/swaps").splitlines()[1:]:
        name = os.path.basename(line.split()[0])
        if name.startswith("zram"):
            memory = read("%s/sys/block/%s/mm_stat" % (root, name)).split()
            transfers = read("%s/sys/block/%s/stat" % (root, name)).split()
            for i, value in enumerate((int(memory[0]), int(memory[2]), int(transfers[2]) * 512,
                                       int(transfers[6]) * 512)):
                zram[i] += value
    found["zram"] = zram
    return found


def run(*arguments, status=0, tool="vm_stat", **options):
    done = subprocess.run([tool] + [str(a) for a in arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    if done.returncode != status:
        raise Failure("%s %s: status %d, not %d: %s" % (tool, arguments, done.returncode, status,
                                                        done.stderr.decode(errors="replace")))
    return done


def text(*arguments, **options):
    return run(*arguments, **options).stdout.decode()


def document(*arguments, **options):
    return json.loads(run("--json", *arguments, **options).stdout)


def expect(found, wanted, what):
    if found != wanted:
        raise Failure("%s: %s, not %s" % (what, found, wanted))


def lines_of(output):
    """{label: value or None} of the usual form, each line of which has its exact width."""
    found = {}
    for line in output.splitlines():
        match = re.fullmatch(r"(?=.{47}$)(.{30}) *(\d+|n/a)\.", line)
        if match:
            found[match[1].strip().rstrip(":")] = None if match[2] == "n/a" else int(match[2])
    return found


def write_tree(root, files):
    """Each file is there as a whole, also for who reads it meanwhile."""
    for path, content in files.items():
        whole = os.path.join(root, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole + ".new", "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.rename(whole + ".new", whole)


VMSTAT = """nr_free_pages 1000
nr_active_anon 10
nr_inactive_anon 20
nr_active_file 30
nr_inactive_file 40
nr_isolated_file 0
nr_unevictable 5
nr_slab_unreclaimable 6
nr_page_table_pages 7
nr_file_pages 60
nr_shmem 3
nr_swapcached 2
nr_anon_pages 33
pgfault 987654321012
pgmajfault 11
pgactivate 12
pglazyfreed 13
pgpgin 4097
pgpgout 8
pswpin 14
pswpout 15
zswpin 16
zswpout 17
pgscan_kswapd 200
pgsteal_kswapd 150
"""
MEMINFO = """MemTotal:       100000 kB
MemAvailable:    40000 kB
KernelStack:        16 kB
Percpu:              8 kB
Hugetlb:             0 kB
Zswap:              40 kB
Zswapped:          160 kB
"""
ZONEINFO = """Node 0, zone      DMA
  per-node stats
      nr_active_anon 10
      nr_unevictable 5
  pages free     100
        boost    0
        min      10
        low      12
        high     14
        present  200
        managed  190
        protection: (0, 1)
      nr_free_pages 100
      numa_miss    1
  pagesets
    cpu: 0
              high:     999
Node 0, zone   Normal
  pages free     11
        boost    0
        min      20
        low      25
        high     30
        present  500
        managed  480
      nr_free_pages 11
      numa_miss    2
Node 0, zone  Movable
  pages free     0
        min      0
        present  0
Node 1, zone   Normal
  per-node stats
      nr_active_anon 77
  pages free     300
        min      20
        low      25
        high     30
        present  600
        managed  590
      nr_free_pages 300
"""
SWAPS = """Filename				Type		Size		Used		Priority
/dev/zram3                              partition	1048572		0		100
/dev/sda2                               partition	1048572		0		-2
"""
OTHER_MACHINE = {
    "proc/vmstat": VMSTAT,
    "proc/meminfo": MEMINFO,
    "proc/zoneinfo": ZONEINFO,
    "proc/swaps": SWAPS,
    "sys/block/zram3/mm_stat": "  81920  1000 40960 0 0 0 0 0 0\n",
    "sys/block/zram3/stat": " 1 2 16 4 5 6 64 8 9\n",
    "proc/pressure/memory": "some avg10=12.50 avg60=1.00 avg300=0.10 total=3000000\n"
                            "full avg10=1.00 avg60=0.50 avg300=0.00 total=1000000\n",
}
