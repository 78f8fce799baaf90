# SPDX-License-Identifier: MIT
"""The programs of the recorder's benchmark and their inputs, which are generated with fixed seeds into
build/bench-record: seven programs of Debian and four loads of programs/blocks.c."""
import os
import random
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", "bench-record")

TIMES = "10"  # what programs/blocks.c does when it shall last

PYTHON = """
import json, random
random.seed(7)
rows = [{"id": i, "name": "row %d" % i, "tags": ["t%d" % random.randrange(500) for _ in range(6)],
         "at": {"x": random.random(), "y": random.random()}} for i in range(6000)]
for _ in range(4):
    again = json.loads(json.dumps(rows))
    index = {}
    for row in again:
        for tag in row["tags"]:
            index.setdefault(tag, []).append(row["id"])
"""

SQL = """
create table t (id integer primary key, name text, kind integer, value real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into t select i, 'name ' || (i * 7919 % 60000), i % 97, i * 0.37 from n;
create index t_name on t (name);
select count(*) from t where name like 'name 1%7%';
select kind, group_concat(name) from t group by kind;
select count(*) from t a join t b on a.id = b.kind where a.value > 3;
update t set name = name || ' again' where kind < 40;
delete from t where kind > 80;
"""

CXX = """
#include <algorithm>
#include <map>
#include <string>
#include <vector>
template <int N> struct item { std::string name; std::vector<int> values; std::map<std::string, int> index;
    int sum() { std::sort(values.begin(), values.end()); for (int v : values) index[name + std::to_string(v)] += v + N;
        int total = 0; for (auto &pair : index) total += pair.second; return total; } };
int main() { item<1> a; item<2> b; a.values = {3, 1, 2}; b.values = {5, 4}; return a.sum() + b.sum(); }
"""

AWK = """
{ for (i = 1; i <= NF; i++) { count[$i]++; length_of[length($i)] = length_of[length($i)] " " $i } lines[NR] = $0 }
END { n = asorti(count, sorted); for (i = 1; i <= n; i++) out = out sorted[i] "=" count[sorted[i]] ";"
      for (i in lines) { m = split(lines[i], words, " "); all += m } print n, all, length(out) }
"""

PERL = """
my (%count, %by_length);
while (<>) { for my $word (split) { $count{$word}++; push @{$by_length{length $word}}, $word; } }
for my $length (sort keys %by_length) { my @sorted = sort @{$by_length{$length}}; $total += @sorted; }
print join(" ", map { "$_=$count{$_}" } (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 20]), "\\n";
"""


def path(name):
    return os.path.join(BUILD, name)


def write(name, text):
    if not os.path.exists(path(name)):
        with open(path(name), "w") as file:
            file.write(text)
    return path(name)


def words():
    source = random.Random(3)
    return "".join(" ".join("w%d" % min(int(source.expovariate(1 / 900)), 20000) for _ in range(10)) + "\n"
                   for _ in range(14000))


def xml():
    source = random.Random(5)
    items = ("<item id='%d' kind='%d'><name>item %d</name><price>%.2f</price></item>\n"
             % (i, i % 17, source.randrange(10 ** 6), source.random() * 100) for i in range(30000))
    return "<items>\n" + "".join(items) + "</items>\n"


def repository():
    """31 commits that change a few thousand lines each."""
    folder = path("repository")
    if os.path.exists(folder):
        return folder
    source = random.Random(11)
    made = folder + ".part"
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(made)
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    for role in ("AUTHOR", "COMMITTER"):
        environment.update({"GIT_%s_NAME" % role: "b", "GIT_%s_EMAIL" % role: "b@example.org",
                            "GIT_%s_DATE" % role: "2026-01-01T00:00:00Z"})

    def git(*arguments):
        subprocess.run(["git", "-C", made, *arguments], check=True, env=environment,
                       stdout=subprocess.DEVNULL)

    git("init", "-q", "-b", "main")
    lines = ["line %d of text %d\n" % (i, source.randrange(1000)) for i in range(4000)]
    for commit in range(31):
        for _ in range(1200):
            lines[source.randrange(len(lines))] = "changed %d in %d\n" % (source.randrange(10 ** 6), commit)
        for part in range(8):
            with open(os.path.join(made, "file%d.txt" % part), "w") as file:
                file.writelines(lines[part * 500:(part + 1) * 500])
        git("add", "-A")
        git("commit", "-q", "-m", "change %d" % commit)
    os.rename(made, folder)
    return folder


def preprocessed():
    output = path("big.ii")
    if not os.path.exists(output):
        subprocess.run(["g++", "-E", "-P", write("big.cpp", CXX), "-o", output], check=True)
    return output


def compiler():
    found = subprocess.run(["g++", "-print-prog-name=cc1plus"], stdout=subprocess.PIPE, check=True)
    return found.stdout.decode().strip()


def blocks():
    program = path("blocks")
    subprocess.run(["gcc", "-O2", "-fno-builtin", "-Wall", "-o", program,
                    os.path.join(HERE, "programs/blocks.c"), "-pthread"], check=True)
    return program


class Row:
    """A program; lasting: one that does the same for so long that the start of the recorder is no matter."""

    def __init__(self, name, command, lasting=None, **environment):
        self.name = name
        self.command = command
        self.lasting = lasting or command
        self.environment = environment


def rows():
    os.makedirs(BUILD, exist_ok=True)
    text, own = write("t2.txt", words()), blocks()
    listed = [
        Row("pymalloc", ["/usr/bin/python3", write("py.py", PYTHON)], PYTHONMALLOC="malloc",
            PYTHONHASHSEED="0"),
        Row("sqlite", ["sqlite3", "-batch", "-init", write("s.sql", SQL), ":memory:", ".exit"]),
        Row("gcc", [compiler(), "-quiet", "-O2", "-fpreprocessed", preprocessed(), "-o", "/dev/null"]),
        Row("gawk", ["gawk", "-f", write("wc.awk", AWK), text]),
        Row("perl", ["perl", write("pl.pl", PERL), text], PERL_HASH_SEED="0"),
        Row("xml", ["xmllint", "--format", "--output", "/dev/null", write("x.xml", xml())]),
        Row("git", ["git", "-C", repository(), "--no-pager", "log", "-p", "--stat", "-w"]),
    ]
    listed += [Row(load, [own, load], [own, load, TIMES]) for load in ("live", "loop", "deep", "threads")]
    return [row for row in listed if shutil.which(row.command[0])]


def nothing():
    """A program that makes one block, and frees it."""
    return Row("nothing", [blocks(), "nothing"])
