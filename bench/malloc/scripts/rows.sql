-- SPDX-License-Identifier: MIT
-- A table and two indexes in memory, then aggregation.
PRAGMA journal_mode = off;
CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
INSERT INTO t SELECT i, 'row ' || (i * 7919 % 100003) || ' text', i * 31 % 997 FROM n;
CREATE INDEX t_b ON t (b);
CREATE INDEX t_cb ON t (c, b);
SELECT count(*), sum(length(list)) FROM
	(SELECT b, count(DISTINCT c), group_concat(c) AS list FROM t GROUP BY b);
SELECT sum(n), max(most) FROM (SELECT c, count(*) AS n, max(b) AS most FROM t GROUP BY c);
