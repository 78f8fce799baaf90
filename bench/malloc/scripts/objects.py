# SPDX-License-Identifier: MIT
# Objects of Python, JSON of them, and many short strings. Run with PYTHONMALLOC=malloc.
import json

table = {}
for i in range(60000):
    table["k%d" % i] = [i, str(i) * 3, {"a": i, "b": [i] * 5}]
text = json.dumps(table)
if json.loads(text) != table:
    raise SystemExit("wrong: JSON")
for _ in range(3):
    parts = text.split("}")[:200000]
    words = text.split(",")
if len(words) != 60000 * 8:
    raise SystemExit("wrong: %d words" % len(words))
