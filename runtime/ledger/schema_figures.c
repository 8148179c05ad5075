/* schema_figures.c: How much was done, by minute, task and queue, and for ever.
 *
 * What happened lies in tasks, outcomes and attempts with its time. The keeper books it into
 * `figures` up to a mark (roll_figures) that only passes what can no longer grow: every transaction
 * that may have written something older has ended. What is behind the mark is read from the rows
 * themselves. Tasks that are forgotten before they were
 * booked are booked by whoever forgets them (count_ahead). So at every moment, in one snapshot,
 *
 *     figures + rows behind the mark = all that ever happened
 *
 * A run is booked when it ended: its run time and how long it had waited when it started. */
#include "ledger/ledger.h"
#include "ledger/schema.h"

/* Bounds are inclusive, and times whole microseconds. */
#define BUCKET(seconds) "width_bucket(" seconds " - 1e-7, ARRAY[" FIGURE_BOUNDS "]::float8[]) + 1"
#define ZEROES          "{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}" /* FIGURE_BUCKETS */
/* More pairs of task and queue are not told apart for ever: anybody may invent a queue. */
#define PAIRS_MAX "1000"
#define FOREVER   "'-infinity'::timestamptz"

/* Rows of `figures` out of events. */
#define FIGURES_OF(condition)                                                                      \
    "SELECT g.minute, g.name AS task, g.queue,\n"                                                  \
    "  coalesce(sum(g.n) FILTER (WHERE g.what = 0), 0)::bigint AS submitted,\n"                    \
    "  coalesce(sum(g.n) FILTER (WHERE g.what = 3), 0)::bigint AS succeeded,\n"                    \
    "  coalesce(sum(g.n) FILTER (WHERE g.what = 4), 0)::bigint AS failed,\n"                       \
    "  coalesce(sum(g.n) FILTER (WHERE g.what = 5), 0)::bigint AS revoked,\n"                      \
    "  histogram(g.kind, g.n) AS kinds,\n"                                                         \
    "  coalesce(sum(g.run), 0) AS run_seconds, histogram(g.run_bucket, g.n) AS runs,\n"            \
    "  coalesce(sum(g.wait), 0) AS wait_seconds, histogram(g.wait_bucket, g.n) AS waits\n"         \
    "FROM (\n"                                                                                     \
    "  SELECT date_trunc('minute', e.at) AS minute, e.name, e.queue, e.what,\n"                    \
    "    array_position('{" FAILURE_KINDS "}'::text[], e.kind) AS kind,\n"                         \
    "    " BUCKET("e.run") " AS run_bucket, " BUCKET(                                              \
        "e.wait") " AS wait_bucket,\n"                                                             \
                  "    count(*) AS n, sum(e.run) AS run, sum(e.wait) AS wait\n"                    \
                  "  FROM figure_events e WHERE " condition " GROUP BY 1, 2, 3, 4, 5, 6, 7) g\n"   \
                  "GROUP BY 1, 2, 3\n"
#define SUMS                                                                                       \
    "sum(submitted)::bigint AS submitted, sum(succeeded)::bigint AS succeeded,\n"                  \
    "  sum(failed)::bigint AS failed, sum(revoked)::bigint AS revoked, sum_each(kinds) AS "        \
    "kinds,\n"                                                                                     \
    "  sum(run_seconds) AS run_seconds, sum_each(runs) AS runs,\n"                                 \
    "  sum(wait_seconds) AS wait_seconds, sum_each(waits) AS waits\n"
/* What rows add to the figures for ever. */
#define TOTALS_OF(rows)                                                                            \
    "SELECT " FOREVER " AS minute, p.task, CASE WHEN p.is_known OR p.place <= " PAIRS_MAX "\n"     \
    "    - (SELECT count(*) FROM figures t WHERE t.minute = " FOREVER ")\n"                        \
    "  THEN p.queue ELSE '*' END AS queue, " SUMS                                                  \
    "FROM (SELECT k.*, dense_rank() OVER (PARTITION BY k.is_known ORDER BY k.task, k.queue)\n"     \
    "    AS place\n"                                                                               \
    "  FROM (SELECT r.*, EXISTS (SELECT FROM figures t WHERE t.minute = " FOREVER "\n"             \
    "      AND t.task = r.task AND t.queue = r.queue) AS is_known FROM " rows " r) k) p\n"         \
    "GROUP BY 1, 2, 3\n"
#define BOOK(events)                                                                               \
    "WITH new AS MATERIALIZED (" events ")\n"                                                      \
    "INSERT INTO figures AS f SELECT * FROM new UNION ALL " TOTALS_OF(                             \
        "new") "ORDER BY 1, 2, 3\n"                                                                \
               "ON CONFLICT (minute, task, queue) DO UPDATE SET\n"                                 \
               "  submitted = f.submitted + excluded.submitted, succeeded = f.succeeded + "        \
               "excluded.succeeded,\n"                                                             \
               "  failed = f.failed + excluded.failed, revoked = f.revoked + excluded.revoked,\n"  \
               "  kinds = each_plus(f.kinds, excluded.kinds),\n"                                   \
               "  run_seconds = f.run_seconds + excluded.run_seconds,\n"                           \
               "  runs = each_plus(f.runs, excluded.runs),\n"                                      \
               "  wait_seconds = f.wait_seconds + excluded.wait_seconds,\n"                        \
               "  waits = each_plus(f.waits, excluded.waits);\n"
/* Times are found through BRIN, which only a bitmap scan can use. What else costs here is that the
 * planner thinks so: compiling, and calling other processes. */
#define BY_TIME                                                                                    \
    "SET search_path FROM CURRENT SET enable_bitmapscan = on SET enable_seqscan = off\n"           \
    "SET jit = off SET max_parallel_workers_per_gather = 0\n"

/* clang-format off */
const char schema_figures[] =
    "CREATE OR REPLACE FUNCTION histogram_add(h bigint[], at integer, n bigint) RETURNS bigint[]\n"
    "IMMUTABLE LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  IF at IS NOT NULL THEN h[at] := h[at] + n; END IF;\n"
    "  RETURN h;\n"
    "END $$;\n"
    "CREATE OR REPLACE FUNCTION each_plus(a bigint[], b bigint[]) RETURNS bigint[]\n"
    "IMMUTABLE STRICT LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  FOR i IN 1 .. cardinality(b) LOOP a[i] := a[i] + b[i]; END LOOP;\n"
    "  RETURN a;\n"
    "END $$;\n"
    "CREATE OR REPLACE AGGREGATE histogram(at integer, n bigint) (\n"
    "  SFUNC = histogram_add, STYPE = bigint[], INITCOND = '" ZEROES "');\n"
    "CREATE OR REPLACE AGGREGATE sum_each(bigint[]) (\n"
    "  SFUNC = each_plus, STYPE = bigint[], INITCOND = '" ZEROES "');\n"
    /* Between the bounds of a bucket evenly; what is beyond the last is as long as that. */
    "CREATE OR REPLACE FUNCTION quantile(h bigint[], q float8) RETURNS float8\n"
    "IMMUTABLE STRICT LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  bounds float8[] := ARRAY[" FIGURE_BOUNDS "];\n"
    "  wanted float8 := q * (SELECT sum(n) FROM unnest(h) n);\n"
    "  low float8;\n"
    "BEGIN\n"
    "  IF wanted = 0 THEN RETURN NULL; END IF;\n"
    "  FOR i IN 1 .. cardinality(bounds) LOOP\n"
    "    low := CASE i WHEN 1 THEN 0 ELSE bounds[i - 1] END;\n"
    "    IF wanted <= h[i] THEN RETURN low + (bounds[i] - low) * wanted / h[i]; END IF;\n"
    "    wanted := wanted - h[i];\n"
    "  END LOOP;\n"
    "  RETURN bounds[cardinality(bounds)];\n"
    "END $$;\n"
    /* what: 0 submitted, 3 4 5 its final status, -1 an attempt behind which others come. */
    "CREATE OR REPLACE VIEW figure_events AS\n"
    "SELECT id, created_at AS at, name, queue, 0 AS what, NULL AS kind, NULL::float8 AS run,\n"
    "  NULL::float8 AS wait FROM tasks\n"
    "UNION ALL\n"
    "SELECT id, finished_at, name, queue, status::integer,\n"
    "  CASE WHEN status = 4 AND claim_id IS NOT NULL THEN error->>'kind' END,\n"
    "  CASE WHEN claim_id IS NOT NULL THEN date_part('epoch', finished_at - started_at) END,\n"
    "  CASE WHEN claim_id IS NOT NULL THEN date_part('epoch', started_at - run_at) END\n"
    "FROM outcomes WHERE name IS NOT NULL\n"
    "UNION ALL\n"
    "SELECT id, ended_at, name, queue, -1, error->>'kind',\n"
    "  CASE WHEN ended <> 'released' THEN date_part('epoch', ended_at - started_at) END,\n"
    "  date_part('epoch', started_at - run_at)\n"
    "FROM attempts WHERE name IS NOT NULL;\n"
    /* Before tasks are forgotten, in the same transaction. */
    "CREATE OR REPLACE FUNCTION count_ahead(ids uuid[]) RETURNS void LANGUAGE plpgsql\n"
    "SET search_path FROM CURRENT SET enable_seqscan = off AS $$\n"
    "DECLARE\n"
    "  mark timestamptz;\n"
    "  recent uuid[];\n"
    "BEGIN\n"
    "  SELECT m.until INTO mark FROM figures_mark m FOR SHARE;\n"
    "  recent := ARRAY(SELECT DISTINCT o.id FROM outcomes o\n"
    "    WHERE o.id = ANY (ids) AND o.finished_at >= mark);\n"
    "  IF recent = '{}' THEN RETURN; END IF;\n"
    "  " BOOK(FIGURES_OF("e.id = ANY (recent) AND e.at >= mark"))
    "END $$;\n"
    /* Books a slice of at most a minute; answers how many are left, as far as is known. lag: no
     * statement takes longer from reading its clock to its first write. After it the transactions
     * are waited for that had written by then. */
    "CREATE OR REPLACE FUNCTION roll_figures(lag interval) RETURNS bigint LANGUAGE plpgsql\n"
    BY_TIME "AS $$\n"
    "DECLARE\n"
    "  m figures_mark;\n"
    "  high timestamptz;\n"
    "BEGIN\n"
    "  SELECT * INTO m FROM figures_mark FOR UPDATE;\n"
    "  IF pg_snapshot_xmin(pg_current_snapshot()) >= m.barrier THEN\n"
    "    m.safe := m.ahead;\n"
    "    m.ahead := greatest(m.ahead, now() - lag);\n"
    "    m.barrier := pg_current_xact_id();\n" /* was assigned after now() */
    "  END IF;\n"
    "  high := least(m.safe, date_trunc('minute', m.until) + interval '1 minute');\n"
    "  IF high > m.until THEN\n"
    "    " BOOK(FIGURES_OF("e.at >= m.until AND e.at < high"))
    "    m.until := high;\n"
    "  END IF;\n"
    "  IF m.depth_at IS DISTINCT FROM date_trunc('minute', now()) THEN\n"
    "    m.depth_at := date_trunc('minute', now());\n"
    "    PERFORM note_depths(m.depth_at);\n"
    "  END IF;\n"
    "  UPDATE figures_mark SET (until, safe, ahead, barrier, depth_at)\n"
    "    = ROW(m.until, m.safe, m.ahead, m.barrier, m.depth_at);\n"
    "  RETURN ceil(extract(epoch FROM m.safe - m.until) / 60);\n"
    "END $$;\n"
    "CREATE OR REPLACE FUNCTION note_depths(at timestamptz) RETURNS void LANGUAGE sql\n"
    "SET search_path FROM CURRENT SET enable_seqscan = on SET enable_hashjoin = on AS $$\n"
    "  INSERT INTO depths (minute, queue, waiting)\n"
    "  SELECT at, queue, coalesce(a.waiting, 0)\n"
    "  FROM (SELECT name AS queue FROM queues) q FULL JOIN\n"
    "    (SELECT queue, count(*) AS waiting FROM active\n"
    "     WHERE status <> 1 AND run_at <= now() GROUP BY queue) a USING (queue)\n"
    "  ON CONFLICT DO NOTHING;\n"
    "$$;\n"
    /* One query for the points of a chart. Steps that nothing happened in are there too. */
    "CREATE OR REPLACE FUNCTION stats_json(since interval, step interval, of_name text,\n"
    "  of_queue text) RETURNS json STABLE LANGUAGE sql\n"
    BY_TIME "AS $$\n"
    "WITH r AS (\n"
    "    SELECT * FROM figures f WHERE f.minute >= date_bin(step, now() - since, 'epoch')\n"
    "      AND (of_name IS NULL OR f.task = of_name) AND (of_queue IS NULL OR f.queue = of_queue)\n"
    "    UNION ALL\n"
    "    " FIGURES_OF("e.at >= (SELECT m.until FROM figures_mark m)\n"
    "      AND e.at >= date_bin(step, now() - since, 'epoch')\n"
    "      AND (of_name IS NULL OR e.name = of_name)\n"
    "      AND (of_queue IS NULL OR e.queue = of_queue)") "),\n"
    "  f AS MATERIALIZED (\n"
    "    SELECT date_bin(step, minute, 'epoch') AS at, " SUMS " FROM r GROUP BY 1),\n"
    "  d AS MATERIALIZED (\n"
    "    SELECT date_bin(step, minute, 'epoch') AS at, max(waiting)::bigint AS waiting FROM (\n"
    "      SELECT minute, sum(waiting) AS waiting FROM depths\n"
    "      WHERE minute >= date_bin(step, now() - since, 'epoch')\n"
    "        AND (of_queue IS NULL OR queue = of_queue) GROUP BY minute) w GROUP BY 1)\n"
    "SELECT json_build_object('step', extract(epoch FROM step)::integer, 'points',\n"
    "    coalesce(json_agg(row_to_json(p) ORDER BY p.at), '[]'))\n"
    "FROM (\n"
    "  SELECT time_word(s.at) AS at, coalesce(f.submitted, 0) AS submitted,\n"
    "    coalesce(f.succeeded, 0) AS succeeded, coalesce(f.failed, 0) AS failed,\n"
    "    coalesce(f.revoked, 0) AS revoked,\n"
    "    (SELECT coalesce(sum(k), 0)::bigint FROM unnest(f.kinds) k) AS attempts_failed,\n"
    "    quantile(f.runs, 0.5) AS run_p50, quantile(f.runs, 0.99) AS run_p99,\n"
    "    quantile(f.waits, 0.5) AS wait_p50, d.waiting\n"
    "  FROM generate_series(date_bin(step, now() - since, 'epoch'), now(), step) s (at)\n"
    "    LEFT JOIN f ON f.at = s.at LEFT JOIN d ON d.at = s.at) p\n"
    "$$;\n"
    "CREATE OR REPLACE FUNCTION active_by_status() RETURNS json STABLE LANGUAGE sql\n"
    "SET search_path FROM CURRENT SET enable_seqscan = on AS $$\n"
    "  SELECT json_build_object('PENDING', count(*) FILTER (WHERE status = 0),\n"
    "    'STARTED', count(*) FILTER (WHERE status = 1),\n"
    "    'RETRY', count(*) FILTER (WHERE status = 2)) FROM active\n"
    "$$;\n"
    /* Everything that is counted, for ever, and how things stand. */
    "CREATE OR REPLACE FUNCTION metrics_json() RETURNS json STABLE LANGUAGE sql\n"
    BY_TIME "AS $$\n"
    "WITH tail AS MATERIALIZED (\n"
    "    " FIGURES_OF("e.at >= (SELECT m.until FROM figures_mark m)") "),\n"
    "  totals AS (\n"
    "    SELECT task, queue, " SUMS " FROM (SELECT * FROM figures WHERE minute = " FOREVER "\n"
    "      UNION ALL " TOTALS_OF("tail") ") t GROUP BY 1, 2)\n"
    "SELECT json_build_object(\n"
    "  'totals', (SELECT coalesce(json_agg(row_to_json(t) ORDER BY t.task, t.queue), '[]')\n"
    "    FROM totals t),\n"
    "  'status', active_by_status(), 'queues', queues_json()->'queues',\n"
    "  'workers', (SELECT row_to_json(w) FROM (SELECT\n"
    "      count(*) FILTER (WHERE supervisor IS NULL) AS workers,\n"
    "      count(*) FILTER (WHERE supervisor IS NOT NULL) AS runners,\n"
    "      coalesce(sum(slots) FILTER (WHERE supervisor IS NULL), 0)::bigint AS slots,\n"
    "      coalesce(sum((stats->>'running')::bigint), 0)::bigint AS running,\n"
    "      coalesce(sum((stats->>'memory')::bigint), 0)::bigint AS memory,\n"
    "      coalesce(sum((stats->>'children')::bigint), 0)::bigint AS children,\n"
    "      coalesce(max((stats->>'loop_lag')::float8), 0) AS loop_lag,\n"
    "      coalesce(max((stats->>'last_claim_ok_age')::float8), 0) AS last_claim_ok_age,\n"
    "      coalesce(max((stats->>'reload_errors')::bigint), 0) AS reload_errors,\n"
    "      avg((stats->>'claim_batch')::float8) AS claim_batch,\n"
    "      avg((stats->>'start_batch')::float8) AS start_batch,\n"
    "      avg((stats->>'finish_batch')::float8) AS finish_batch,\n"
    "      max((stats->>'redis_trip')::float8) AS redis_trip,\n"
    "      max((stats->>'postgres_trip')::float8) AS postgres_trip\n"
    "    FROM workers WHERE state = 'alive') w),\n"
    "  'fenced', (SELECT coalesce(sum(n), 0)::bigint FROM counts WHERE name = 'fenced'),\n"
    "  'rollup_age', (SELECT extract(epoch FROM now() - until)::float8 FROM figures_mark))\n"
    "$$;\n";
