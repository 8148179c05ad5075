-- The schema as version 1 of it was made (pg_dump, without partitions).
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA ctutor;

CREATE TYPE ctutor.operated AS (
	n bigint,
	answer text,
	id uuid,
	starts integer,
	priority smallint,
	run_at timestamp with time zone,
	queue text
);

SET default_tablespace = '';

CREATE TABLE ctutor.tasks (
    id uuid NOT NULL,
    name text NOT NULL,
    queue text NOT NULL,
    priority smallint NOT NULL,
    parameters jsonb NOT NULL,
    tags text[],
    created_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    timeout_us bigint NOT NULL,
    retry_max integer NOT NULL,
    retry_backoff smallint NOT NULL,
    retry_base_us bigint NOT NULL,
    retry_cap_us bigint NOT NULL,
    retry_jitter boolean NOT NULL,
    max_losses integer NOT NULL,
    expires_at timestamp with time zone,
    unique_key text,
    created_by text,
    schema_hash text,
    parent_id uuid
)
PARTITION BY RANGE (id);

CREATE FUNCTION ctutor.backoff(t ctutor.tasks, spent integer) RETURNS interval
    LANGUAGE sql
    RETURN ((LEAST(((t).retry_cap_us)::double precision, CASE (t).retry_backoff WHEN 0 THEN ((((t).retry_base_us)::numeric * (2.0 ^ (LEAST((spent - 1), 60))::numeric)))::double precision WHEN 1 THEN (((t).retry_base_us)::double precision * (spent)::double precision) ELSE ((t).retry_base_us)::double precision END) * CASE WHEN (t).retry_jitter THEN random() ELSE (1)::double precision END) * '00:00:00.000001'::interval);

CREATE FUNCTION ctutor.cancel_tasks(ids uuid[]) RETURNS SETOF ctutor.operated
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
DECLARE
  waiting uuid[];
  running uuid[];
BEGIN
  PERFORM FROM active a WHERE a.id = ANY (ids) ORDER BY a.id FOR UPDATE;
  waiting := ARRAY(SELECT a.id FROM active a WHERE a.id = ANY (ids) AND a.status <> 1);
  running := ARRAY(SELECT a.id FROM active a WHERE a.id = ANY (ids) AND a.status = 1);
  UPDATE active a SET cancel_at = now()
  WHERE a.id = ANY (running) AND a.cancel_at IS NULL;
  PERFORM end_rows(waiting, 5::smallint, 'cancelled', 'cancelled before it was started');
  RETURN QUERY SELECT i.n, CASE
    WHEN t.task_id IS NULL THEN
      operated_json(i.id, 'not_found', NULL, 'no such task', NULL)
    WHEN i.id = ANY (waiting) THEN
      operated_json(i.id, 'cancelled', t.status, 'it was waiting', t.queue)
    WHEN i.id = ANY (running) THEN
      operated_json(i.id, 'cancelling', t.status, 'it is running, its worker is told',
             t.queue)
    ELSE operated_json(i.id, 'refused', t.status, 'it has ended already', t.queue) END,
    NULL::uuid, NULL::integer, NULL::smallint, NULL::timestamptz, NULL::text
  FROM unnest(ids) WITH ORDINALITY i (id, n)
    LEFT JOIN LATERAL (SELECT * FROM task_info x WHERE x.task_id = i.id OFFSET 0) t ON true
  ORDER BY i.n;
END $$;

CREATE FUNCTION ctutor.declare_dead(dead uuid, culprit uuid, cause text, seen bigint) RETURNS TABLE(id uuid, starts integer, priority smallint, run_at timestamp with time zone, queue text)
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'on'
    AS $$
DECLARE
  ids uuid[];
  is_orphan boolean;
BEGIN
  PERFORM FROM workers w WHERE w.incarnation = dead
    AND (w.state <> 'alive' OR seen < 0 OR w.heartbeat = seen) FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  ids := ARRAY(SELECT a.id FROM active a WHERE a.owner = dead AND a.status = 1
        ORDER BY a.id FOR UPDATE);
  UPDATE workers w SET ended_at = now(), state = CASE
      WHEN seen < 0 AND culprit IS NULL AND cardinality(ids) = 0 THEN 'gone'
      ELSE 'dead' END
    WHERE w.incarnation = dead AND w.state = 'alive';
  is_orphan := EXISTS (SELECT FROM workers w JOIN workers s ON s.incarnation = w.supervisor
              WHERE w.incarnation = dead AND s.state <> 'alive');
  RETURN QUERY SELECT * FROM release_rows(ids, culprit, cause,
              is_orphan OR seen >= 0);
END $$;

CREATE FUNCTION ctutor.delete_tasks(ids uuid[]) RETURNS SETOF ctutor.operated
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
BEGIN
  PERFORM FROM tasks t WHERE t.id = ANY (ids) ORDER BY t.id FOR UPDATE;
  RETURN QUERY SELECT i.n, CASE
    WHEN t.task_id IS NULL THEN
      operated_json(i.id, 'not_found', NULL, 'no such task', NULL)
    WHEN t.finished_at IS NULL THEN
      operated_json(i.id, 'refused', t.status, 'it has not ended', t.queue)
    ELSE operated_json(i.id, 'deleted', t.status, 'it is forgotten', t.queue) END,
    NULL::uuid, NULL::integer, NULL::smallint, NULL::timestamptz, NULL::text
  FROM unnest(ids) WITH ORDINALITY i (id, n)
    LEFT JOIN LATERAL (SELECT * FROM task_info x WHERE x.task_id = i.id OFFSET 0) t ON true
  ORDER BY i.n;
  PERFORM forget_tasks(ARRAY(SELECT i.id FROM unnest(ids) i (id)
    WHERE NOT EXISTS (SELECT FROM active a WHERE a.id = i.id)));
END $$;

CREATE FUNCTION ctutor.time_word(at timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE
    RETURN to_char((at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'::text);

CREATE FUNCTION ctutor.make_error(kind text, message text, attempt integer) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('kind', kind, 'message', message, 'traceback', NULL::unknown, 'attempt', attempt, 'at', ctutor.time_word(now()));

SET default_table_access_method = heap;

CREATE TABLE ctutor.active (
    id uuid NOT NULL,
    claim_id uuid,
    owner uuid,
    run_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    expires_at timestamp with time zone,
    cancel_at timestamp with time zone,
    progress_at timestamp with time zone,
    round integer DEFAULT 1 NOT NULL,
    starts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    losses integer DEFAULT 0 NOT NULL,
    unwitnessed integer DEFAULT 0 NOT NULL,
    percent real,
    priority smallint NOT NULL,
    status smallint DEFAULT 0 NOT NULL,
    name text NOT NULL,
    queue text NOT NULL,
    version text,
    unique_key text,
    metadata jsonb
)
WITH (fillfactor='40', autovacuum_vacuum_scale_factor='0.05');

CREATE TABLE ctutor.catalogue (
    name text NOT NULL,
    entry json NOT NULL,
    secrets text[],
    on_failure boolean NOT NULL,
    removed boolean DEFAULT false NOT NULL,
    blocked_version text,
    isolated boolean GENERATED ALWAYS AS ((COALESCE(((entry ->> 'isolate'::text))::boolean, false) OR COALESCE(((entry ->> 'version'::text) = blocked_version), false))) STORED NOT NULL
);

CREATE TABLE ctutor.hooks_owed (
    id uuid NOT NULL,
    round integer NOT NULL,
    attempt integer NOT NULL,
    event text NOT NULL,
    name text NOT NULL,
    owner uuid
);

CREATE TABLE ctutor.outcomes (
    id uuid NOT NULL,
    round integer NOT NULL,
    attempt integer NOT NULL,
    claim_id uuid,
    status smallint NOT NULL,
    result jsonb,
    error jsonb,
    failures integer NOT NULL,
    losses integer NOT NULL,
    percent real,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    cancel_at timestamp with time zone,
    progress_at timestamp with time zone,
    worker text,
    version text,
    metadata jsonb
)
PARTITION BY RANGE (id);

CREATE TABLE ctutor.workers (
    incarnation uuid NOT NULL,
    supervisor uuid,
    name text NOT NULL,
    host text NOT NULL,
    boot_id text NOT NULL,
    pid integer NOT NULL,
    pid_start bigint NOT NULL,
    queues text[] NOT NULL,
    slots integer NOT NULL,
    isolated boolean DEFAULT false NOT NULL,
    carries text[],
    version text,
    state text DEFAULT 'alive'::text NOT NULL,
    heartbeat bigint DEFAULT 0 NOT NULL,
    stats jsonb,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    settled boolean DEFAULT false NOT NULL
)
WITH (fillfactor='50');

CREATE FUNCTION ctutor.end_rows(ids uuid[], became smallint, kind text, message text) RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
 WITH gone AS (
          DELETE FROM ctutor.active a
           WHERE (a.id = ANY (end_rows.ids))
           RETURNING a.id,
             a.claim_id,
             a.owner,
             a.run_at,
             a.created_at,
             a.started_at,
             a.expires_at,
             a.cancel_at,
             a.progress_at,
             a.round,
             a.starts,
             a.failures,
             a.losses,
             a.unwitnessed,
             a.percent,
             a.priority,
             a.status,
             a.name,
             a.queue,
             a.version,
             a.unique_key,
             a.metadata
         ), kept AS (
          INSERT INTO ctutor.outcomes (id, round, attempt, claim_id, status, error, failures, losses, percent, run_at, started_at, finished_at, cancel_at, progress_at, worker, version, metadata)  SELECT g.id,
                     g.round,
                     g.starts,
                     g.claim_id,
                     end_rows.became AS became,
                     ctutor.make_error(end_rows.kind, end_rows.message, g.starts) AS make_error,
                     g.failures,
                     g.losses,
                     g.percent,
                     g.run_at,
                     g.started_at,
                     now() AS now,
                     g.cancel_at,
                     g.progress_at,
                     w.name,
                     g.version,
                     g.metadata
                    FROM (gone g
                      LEFT JOIN ctutor.workers w ON ((w.incarnation = g.owner)))
         ), owed AS (
          INSERT INTO ctutor.hooks_owed (id, round, attempt, event, name)  SELECT g.id,
                     g.round,
                     g.starts,
                     'failure',
                     g.name
                    FROM (gone g
                      JOIN ctutor.catalogue c ON (((c.name = g.name) AND c.on_failure)))
                   WHERE (end_rows.became = 4)
         )
  SELECT count(*) AS count
    FROM gone;
END;

CREATE FUNCTION ctutor.end_unknown(grace interval, max_waiting bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'on'
    SET enable_hashjoin TO 'on'
    AS $$
DECLARE
  served text[];
  ids uuid[];
BEGIN
  INSERT INTO carried (name, seen_at)
  SELECT DISTINCT n.name, now() FROM workers w, unnest(w.carries) n (name)
  WHERE w.state = 'alive' ORDER BY 1
  ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at;
  served := ARRAY(SELECT DISTINCT q FROM workers w, unnest(w.queues) q
          WHERE w.state = 'alive' AND w.carries IS NOT NULL);
  INSERT INTO queues (name) SELECT q FROM unnest(served) q ORDER BY 1
  ON CONFLICT DO NOTHING;
  UPDATE queues q SET served_since = CASE WHEN q.name = ANY (served) THEN now() END
  WHERE (q.name = ANY (served)) = (q.served_since IS NULL);
  WITH waiting AS (SELECT a.queue FROM active a WHERE a.status IN (0, 2)
          GROUP BY a.queue HAVING count(*) >= max_waiting),
    noted AS (INSERT INTO queues (name, is_full) SELECT w.queue, true FROM waiting w
         ON CONFLICT (name) DO UPDATE SET is_full = true WHERE NOT queues.is_full)
  UPDATE queues q SET is_full = false
  WHERE q.is_full AND q.name NOT IN (SELECT w.queue FROM waiting w);
  ids := ARRAY(SELECT a.id FROM active a JOIN queues q ON q.name = a.queue
      LEFT JOIN carried c ON c.name = a.name
    WHERE a.status IN (0, 2) AND a.run_at <= now() - grace
      AND q.served_since <= now() - grace
      AND (c.seen_at IS NULL OR c.seen_at < now() - grace)
    ORDER BY a.id LIMIT 10000 FOR UPDATE OF a SKIP LOCKED);
  RETURN end_rows(ids, 4::smallint, 'unknown_task', 'no worker carries this task');
END $$;

CREATE FUNCTION ctutor.error_json(error jsonb) RETURNS json
    LANGUAGE sql STABLE
    RETURN CASE WHEN (error IS NULL) THEN NULL::json WHEN (error ? 'details'::text) THEN (SELECT row_to_json(e.*) AS row_to_json FROM (SELECT (error_json.error -> 'kind'::text) AS kind, (error_json.error -> 'message'::text) AS message, (error_json.error -> 'traceback'::text) AS traceback, (error_json.error -> 'attempt'::text) AS attempt, (error_json.error -> 'at'::text) AS at, (error_json.error -> 'details'::text) AS details) e) ELSE (SELECT row_to_json(e.*) AS row_to_json FROM (SELECT (error_json.error -> 'kind'::text) AS kind, (error_json.error -> 'message'::text) AS message, (error_json.error -> 'traceback'::text) AS traceback, (error_json.error -> 'attempt'::text) AS attempt, (error_json.error -> 'at'::text) AS at) e) END;

CREATE TABLE ctutor.attempts (
    id uuid NOT NULL,
    attempt integer NOT NULL,
    round integer NOT NULL,
    claim_id uuid,
    ended text NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone NOT NULL,
    worker text,
    version text,
    error jsonb
)
PARTITION BY RANGE (id);

CREATE SEQUENCE ctutor.log_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE ctutor.logs (
    id uuid NOT NULL,
    seq bigint DEFAULT nextval('ctutor.log_seq'::regclass) NOT NULL,
    attempt integer NOT NULL,
    at timestamp with time zone NOT NULL,
    level text NOT NULL,
    text text NOT NULL
)
PARTITION BY RANGE (id);

CREATE FUNCTION ctutor.forget_tasks(ids uuid[]) RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
 WITH l AS (
          DELETE FROM ctutor.logs
           WHERE (logs.id = ANY (forget_tasks.ids))
         ), a AS (
          DELETE FROM ctutor.attempts
           WHERE (attempts.id = ANY (forget_tasks.ids))
         ), o AS (
          DELETE FROM ctutor.outcomes
           WHERE (outcomes.id = ANY (forget_tasks.ids))
         ), h AS (
          DELETE FROM ctutor.hooks_owed
           WHERE (hooks_owed.id = ANY (forget_tasks.ids))
         ), t AS (
          DELETE FROM ctutor.tasks
           WHERE (tasks.id = ANY (forget_tasks.ids))
           RETURNING tasks.id
         )
  SELECT count(*) AS count
    FROM t;
END;

CREATE FUNCTION ctutor.hint_queue(queue text, name text, isolated text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN (queue || CASE WHEN (name = ANY (isolated)) THEN '/isolated'::text ELSE ''::text END);

CREATE FUNCTION ctutor.id_bound(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql STABLE
    RETURN ((lpad(to_hex(((EXTRACT(epoch FROM at) * (1000)::numeric))::bigint), 12, '0'::text) || repeat('0'::text, 20)))::uuid;

CREATE FUNCTION ctutor.masked(parameters jsonb, secrets text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN CASE WHEN ((secrets IS NULL) OR (NOT (parameters ?| secrets))) THEN parameters ELSE (SELECT jsonb_object_agg(p.key, CASE WHEN (p.key = ANY (masked.secrets)) THEN '"********"'::jsonb ELSE p.value END) AS jsonb_object_agg FROM jsonb_each(masked.parameters) p(key, value)) END;

CREATE FUNCTION ctutor.status_word(status smallint) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN (ARRAY['PENDING'::text, 'STARTED'::text, 'RETRY'::text, 'SUCCESS'::text, 'FAILURE'::text, 'REVOKED'::text])[(status + 1)];

CREATE TABLE ctutor.secrets (
    name text NOT NULL,
    schema_hash text NOT NULL,
    secrets text[] NOT NULL
);

CREATE VIEW ctutor.task_info AS
 SELECT t.id AS task_id,
    t.name AS task_name,
    ctutor.status_word(COALESCE(a.status, o.status)) AS status,
    t.queue,
    t.priority,
    ctutor.masked(t.parameters, (s.secrets || c.secrets)) AS parameters,
    COALESCE(t.tags, '{}'::text[]) AS tags,
    COALESCE(a.starts, o.attempt) AS attempt,
    COALESCE(a.failures, o.failures) AS failures,
    (t.retry_max + 1) AS max_attempts,
    ( SELECT row_to_json(p_1.*) AS row_to_json
           FROM ( SELECT COALESCE(a.percent, o.percent) AS percentage,
                    COALESCE(a.metadata, o.metadata) AS metadata,
                    ctutor.time_word(COALESCE(a.progress_at, o.progress_at)) AS updated_at) p_1) AS progress,
    t.created_at,
    COALESCE(a.run_at, o.run_at) AS run_at,
    COALESCE(a.started_at, o.started_at) AS started_at,
    o.finished_at,
    (EXTRACT(epoch FROM
        CASE
            WHEN (o.claim_id IS NOT NULL) THEN (o.finished_at - o.started_at)
            ELSE (p.ended_at - p.started_at)
        END))::double precision AS duration,
        CASE
            WHEN (t.timeout_us >= 0) THEN ((t.timeout_us)::double precision / ('1000000'::numeric)::double precision)
            ELSE NULL::double precision
        END AS timeout,
        CASE
            WHEN (a.id IS NOT NULL) THEN a.expires_at
            WHEN (o.round = 1) THEN t.expires_at
            ELSE NULL::timestamp with time zone
        END AS expires_at,
    t.unique_key,
    COALESCE(a.cancel_at, o.cancel_at) AS cancel_requested_at,
    COALESCE(w.name, o.worker, p.worker) AS worker,
    COALESCE(a.version, o.version) AS task_version,
    t.parent_id,
    t.created_by,
    ctutor.error_json(
        CASE
            WHEN (a.id IS NULL) THEN o.error
            ELSE ( SELECT e.error
               FROM ctutor.attempts e
              WHERE ((e.id = t.id) AND (e.round = a.round) AND (e.error IS NOT NULL))
              ORDER BY e.attempt DESC
             LIMIT 1)
        END) AS error,
    (NOT (o.status IS DISTINCT FROM 3)) AS result_available,
    o.result
   FROM ((((((ctutor.tasks t
     LEFT JOIN ctutor.active a ON ((a.id = t.id)))
     LEFT JOIN LATERAL ( SELECT x.id,
            x.round,
            x.attempt,
            x.claim_id,
            x.status,
            x.result,
            x.error,
            x.failures,
            x.losses,
            x.percent,
            x.run_at,
            x.started_at,
            x.finished_at,
            x.cancel_at,
            x.progress_at,
            x.worker,
            x.version,
            x.metadata
           FROM ctutor.outcomes x
          WHERE ((x.id = t.id) AND (a.id IS NULL))
          ORDER BY x.round DESC
         LIMIT 1) o ON (true))
     LEFT JOIN ctutor.workers w ON ((w.incarnation = a.owner)))
     LEFT JOIN ctutor.attempts p ON (((p.id = t.id) AND (p.attempt = COALESCE(a.starts, o.attempt)))))
     LEFT JOIN ctutor.catalogue c ON ((c.name = t.name)))
     LEFT JOIN ctutor.secrets s ON (((s.name = t.name) AND (s.schema_hash = t.schema_hash))));

CREATE FUNCTION ctutor.info_json(i ctutor.task_info) RETURNS json
    LANGUAGE sql STABLE
    RETURN (SELECT row_to_json(j.*) AS row_to_json FROM (SELECT (info_json.i).task_id AS task_id, (info_json.i).task_name AS task_name, (info_json.i).status AS status, (info_json.i).queue AS queue, (info_json.i).priority AS priority, (info_json.i).parameters AS parameters, (info_json.i).tags AS tags, (info_json.i).attempt AS attempt, (info_json.i).failures AS failures, (info_json.i).max_attempts AS max_attempts, (info_json.i).progress AS progress, ctutor.time_word((info_json.i).created_at) AS created_at, ctutor.time_word((info_json.i).run_at) AS run_at, ctutor.time_word((info_json.i).started_at) AS started_at, ctutor.time_word((info_json.i).finished_at) AS finished_at, (info_json.i).duration AS duration, (info_json.i).timeout AS timeout, ctutor.time_word((info_json.i).expires_at) AS expires_at, (info_json.i).unique_key AS unique_key, ctutor.time_word((info_json.i).cancel_requested_at) AS cancel_requested_at, (info_json.i).worker AS worker, (info_json.i).task_version AS task_version, (info_json.i).parent_id AS parent_id, (info_json.i).created_by AS created_by, (info_json.i).error AS error, (info_json.i).result_available AS result_available) j);

CREATE FUNCTION ctutor.make_partitions() RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    AS $$
DECLARE
  week timestamp;
  parent text;
  part text;
  made integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' partitions', 0));
  FOR week IN SELECT generate_series(this - interval '2 weeks', this + interval '4 weeks',
                   interval '1 week')
        FROM date_trunc('week', now() AT TIME ZONE 'UTC') this LOOP
    FOREACH parent IN ARRAY ARRAY['tasks', 'outcomes', 'attempts', 'logs'] LOOP
      part := parent || to_char(week, '_YYYYMMDD');
      CONTINUE WHEN to_regclass(part) IS NOT NULL;
      EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
      EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent, part, id_bound(week AT TIME ZONE 'UTC'),
        id_bound((week + interval '1 week') AT TIME ZONE 'UTC'));
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

CREATE FUNCTION ctutor.micros(at timestamp with time zone) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN ((EXTRACT(epoch FROM at) * (1000000)::numeric))::bigint;

CREATE FUNCTION ctutor.operated_json(id uuid, status text, task_status text, message text, queue text) RETURNS text
    LANGUAGE sql STABLE
    RETURN (SELECT (row_to_json(j.*))::text AS row_to_json FROM (SELECT operated_json.id AS task_id, operated_json.status AS status, operated_json.task_status AS task_status, operated_json.message AS message, operated_json.queue AS queue) j);

CREATE VIEW ctutor.weeks AS
 SELECT substr((pg_class.relname)::text, 7) AS suffix,
    ctutor.id_bound(s.start) AS low,
    ctutor.id_bound((s.start + '7 days'::interval)) AS high,
    (s.start + '7 days'::interval) AS ends_at
   FROM (pg_inherits
     JOIN pg_class ON ((pg_class.oid = pg_inherits.inhrelid))),
    LATERAL ( SELECT ((to_date(substr((pg_class.relname)::text, 7), 'YYYYMMDD'::text))::timestamp without time zone AT TIME ZONE 'UTC'::text) AS timezone) s(start)
  WHERE (pg_inherits.inhparent = ('ctutor.tasks'::regclass)::oid);

CREATE FUNCTION ctutor.prunable_weeks(cutoff timestamp with time zone) RETURNS SETOF ctutor.weeks
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT w.suffix,
     w.low,
     w.high,
     w.ends_at
    FROM ctutor.weeks w
   WHERE ((w.ends_at < prunable_weeks.cutoff) AND (w.ends_at <= ((date_trunc('week'::text, (now() AT TIME ZONE 'UTC'::text)) AT TIME ZONE 'UTC'::text) - '14 days'::interval)) AND (NOT (EXISTS ( SELECT
            FROM ctutor.active a
           WHERE ((a.id >= w.low) AND (a.id < w.high))))) AND (NOT (EXISTS ( SELECT
            FROM ctutor.outcomes o
           WHERE ((o.id >= w.low) AND (o.id < w.high) AND (o.finished_at >= prunable_weeks.cutoff))))))
   ORDER BY w.low;
END;

CREATE FUNCTION ctutor.prune_slice(cutoff timestamp with time zone, after uuid, most integer, OUT tasks bigint, OUT last uuid) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
DECLARE
  ids uuid[];
BEGIN
  ids := ARRAY(SELECT o.id FROM outcomes o
    WHERE o.id > after AND o.id < id_bound(cutoff + interval '1 day')
      AND o.finished_at < cutoff
      AND NOT EXISTS (SELECT FROM active a WHERE a.id = o.id)
      AND NOT EXISTS (SELECT FROM outcomes y WHERE y.id = o.id AND y.round > o.round)
    ORDER BY o.id LIMIT most);
  last := ids[cardinality(ids)];
  ids := ARRAY(SELECT t.id FROM tasks t WHERE t.id = ANY (ids) ORDER BY t.id FOR UPDATE);
  ids := ARRAY(SELECT i.id FROM unnest(ids) i (id)
        WHERE NOT EXISTS (SELECT FROM active a WHERE a.id = i.id));
  tasks := forget_tasks(ids);
END $$;

CREATE FUNCTION ctutor.prune_week(cutoff timestamp with time zone, OUT tasks bigint, OUT partitions integer) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
DECLARE
  week weeks;
  parent text;
BEGIN
  tasks := 0;
  partitions := 0;
  SELECT * INTO week FROM prunable_weeks(cutoff) LIMIT 1;
  IF NOT FOUND THEN RETURN; END IF;
  EXECUTE format('LOCK TABLE %I, %I IN ACCESS EXCLUSIVE MODE',
         'tasks_' || week.suffix, 'outcomes_' || week.suffix);
  IF NOT EXISTS (SELECT FROM prunable_weeks(cutoff) w WHERE w.suffix = week.suffix) THEN
    RETURN;
  END IF;
  EXECUTE format('SELECT count(*) FROM %I', 'tasks_' || week.suffix) INTO tasks;
  DELETE FROM hooks_owed h WHERE h.id >= week.low AND h.id < week.high;
  FOREACH parent IN ARRAY ARRAY['logs_', 'attempts_', 'outcomes_', 'tasks_'] LOOP
    EXECUTE format('DROP TABLE %I', parent || week.suffix);
    partitions := 1;
  END LOOP;
END $$;

CREATE FUNCTION ctutor.publish(publisher uuid, load json) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    AS $$
BEGIN
  INSERT INTO catalogue AS c (name, entry, secrets, on_failure)
  SELECT e.entry->>'name', e.entry, nullif(ARRAY(
      SELECT json_array_elements_text(coalesce(e.entry->'secrets', '[]'))), '{}'),
    coalesce(e.entry->'hooks', '[]')::jsonb ?| ARRAY['failure', 'on_failure']
  FROM json_array_elements(load->'entries') e (entry) ORDER BY 1
  ON CONFLICT (name) DO UPDATE SET entry = excluded.entry, secrets = excluded.secrets,
    on_failure = excluded.on_failure, removed = false, blocked_version = CASE
      WHEN c.entry->>'version' = excluded.entry->>'version' THEN c.blocked_version END;
  INSERT INTO secrets (name, schema_hash, secrets)
  SELECT c.name, coalesce(c.entry->>'schema_hash', ''), c.secrets FROM catalogue c
  WHERE c.secrets IS NOT NULL AND c.name IN (SELECT e.entry->>'name'
    FROM json_array_elements(load->'entries') e (entry)) ORDER BY 1
  ON CONFLICT (name, schema_hash) DO UPDATE SET secrets = excluded.secrets;
  UPDATE catalogue c SET removed = true
  WHERE c.name IN (SELECT json_array_elements_text(coalesce(load->'removed', '[]')))
    AND NOT EXISTS (SELECT FROM workers w WHERE w.incarnation <> publisher
            AND w.state = 'alive' AND c.name = ANY (w.carries));
  DELETE FROM load_errors e WHERE e.supervisor = publisher;
  INSERT INTO load_errors (supervisor, file, error)
  SELECT publisher, e.error->>'file', string_agg(e.error->>'error', E'\n')
  FROM json_array_elements(coalesce(load->'errors', '[]')) e (error) GROUP BY 2;
END $$;

CREATE FUNCTION ctutor.queues_json() RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO 'ctutor'
    SET enable_seqscan TO 'on'
    AS $$
  SELECT json_build_object('queues',
    coalesce(json_agg(row_to_json(r) ORDER BY r.name), '[]'))
  FROM (
    SELECT n.name, coalesce(a.waiting, 0) AS waiting, coalesce(a.delayed, 0) AS delayed,
      coalesce(a.running, 0) AS running,
      coalesce(greatest(extract(epoch FROM now() - a.oldest), 0), 0)::float8
        AS oldest_age,
      coalesce(q.paused, false) AS paused,
      (SELECT count(*) FROM workers w WHERE w.state = 'alive' AND w.supervisor IS NULL
        AND n.name = ANY (w.queues)) AS workers
    FROM (SELECT name FROM queues UNION SELECT queue FROM active
       UNION SELECT unnest(w.queues) FROM workers w WHERE w.state = 'alive') n (name)
    LEFT JOIN queues q ON q.name = n.name
    LEFT JOIN (
      SELECT queue, count(*) FILTER (WHERE status <> 1 AND run_at <= now()) AS waiting,
        count(*) FILTER (WHERE status <> 1 AND run_at > now()) AS delayed,
        count(*) FILTER (WHERE status = 1) AS running,
        min(run_at) FILTER (WHERE status <> 1 AND run_at <= now()) AS oldest
      FROM active GROUP BY queue) a ON a.queue = n.name) r
$$;

CREATE FUNCTION ctutor.release_rows(ids uuid[], culprit uuid, cause text, unwitnessed boolean) RETURNS TABLE(id uuid, starts integer, priority smallint, run_at timestamp with time zone, queue text)
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
  a active;
  t tasks;
  charged boolean;
  failed boolean;
  kind text;
  message text;
  error jsonb;
  isolated text[];
BEGIN
  IF cause = 'timeout' THEN
    UPDATE catalogue c SET blocked_version = x.version FROM active x
    WHERE x.id = ANY (ids) AND x.claim_id = culprit AND c.name = x.name;
  END IF;
  isolated := ARRAY(SELECT i.name FROM catalogue i WHERE i.isolated);
  FOR a IN SELECT x.* FROM unnest(ids) i (of) CROSS JOIN LATERAL
        (SELECT * FROM active y WHERE y.id = i.of AND y.status = 1 OFFSET 0) x LOOP
    SELECT * INTO t FROM tasks x WHERE x.id = a.id;
    charged := coalesce(a.claim_id = culprit, false);
    failed := charged AND cause IS NOT NULL;
    a.failures := a.failures + failed::integer;
    a.losses := a.losses + (charged AND NOT failed)::integer;
    a.unwitnessed := a.unwitnessed + release_rows.unwitnessed::integer;
    UPDATE active x SET failures = a.failures, losses = a.losses WHERE x.id = a.id;
    kind := CASE WHEN failed THEN cause ELSE 'worker_lost' END;
    message := CASE
      WHEN kind = 'timeout' THEN
        'its time ran out and it did not yield: its process was killed'
      WHEN kind = 'memory' THEN 'it took more memory than it may: its process was killed'
      WHEN charged THEN format('its process died while it ran (loss %s of %s)',
                  a.losses, greatest(t.max_losses, 1))
      ELSE 'its worker died' END;
    IF a.cancel_at IS NOT NULL THEN
      PERFORM end_rows(ARRAY[a.id], 5::smallint, 'cancelled', 'cancelled while it ran');
      CONTINUE;
    ELSIF failed AND a.failures > t.retry_max
      OR NOT failed AND t.max_losses = 0
      OR charged AND NOT failed AND a.losses >= t.max_losses
      OR a.unwitnessed >= 10 AND release_rows.unwitnessed THEN
      PERFORM end_rows(ARRAY[a.id], 4::smallint, kind, message);
      CONTINUE;
    END IF;
    error := CASE WHEN charged THEN make_error(kind, message, a.starts) END;
    INSERT INTO attempts (id, attempt, round, claim_id, ended, started_at, ended_at, worker,
               version, error)
    VALUES (a.id, a.starts, a.round, a.claim_id, CASE WHEN failed THEN 'failed'
      WHEN charged THEN 'lost' ELSE 'released' END, a.started_at, now(),
      (SELECT w.name FROM workers w WHERE w.incarnation = a.owner), a.version, error);
    IF charged THEN
      a.run_at := now() + backoff(t, CASE WHEN failed THEN a.failures ELSE a.losses END);
    END IF;
    UPDATE active x SET status = CASE WHEN charged THEN 2 ELSE 0 END, claim_id = NULL,
      owner = NULL, run_at = a.run_at, unwitnessed = a.unwitnessed WHERE x.id = a.id;
    id := a.id;
    starts := a.starts;
    priority := a.priority;
    run_at := a.run_at;
    queue := hint_queue(a.queue, a.name, isolated);
    RETURN NEXT;
  END LOOP;
END $$;

CREATE FUNCTION ctutor.release_unclaimed(me uuid, known uuid[], old interval) RETURNS TABLE(id uuid, starts integer, priority smallint, run_at timestamp with time zone, queue text)
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'on'
    SET enable_hashjoin TO 'on'
    AS $$
DECLARE
  ids uuid[];
BEGIN
  ids := ARRAY(SELECT a.id FROM active a WHERE a.owner = me AND a.status = 1
        AND a.started_at < clock_timestamp() - old AND NOT EXISTS (
          SELECT FROM unnest(known) k (claim) WHERE k.claim = a.claim_id)
        ORDER BY a.id FOR UPDATE OF a SKIP LOCKED);
  IF cardinality(ids) > 0 THEN
    RETURN QUERY SELECT * FROM release_rows(ids, NULL, NULL, false);
  END IF;
END $$;

CREATE FUNCTION ctutor.result_json(i ctutor.task_info) RETURNS text
    LANGUAGE sql STABLE
    RETURN ((((("left"((ctutor.info_json(i))::text, '-1'::integer) || ',"result":'::text) || COALESCE(((i).result)::text, 'null'::text)) || ',"errors":'::text) || COALESCE((SELECT (json_agg(ctutor.error_json(e.error) ORDER BY e.attempt))::text AS json_agg FROM (SELECT attempts.attempt, attempts.error FROM ctutor.attempts WHERE ((attempts.id = (result_json.i).task_id) AND (attempts.error IS NOT NULL)) UNION ALL SELECT outcomes.attempt, outcomes.error FROM ctutor.outcomes WHERE ((outcomes.id = (result_json.i).task_id) AND (outcomes.error IS NOT NULL))) e), '[]'::text)) || '}'::text);

CREATE FUNCTION ctutor.retry_tasks(ids uuid[]) RETURNS SETOF ctutor.operated
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
DECLARE
  again uuid[];
BEGIN
  PERFORM FROM tasks t WHERE t.id = ANY (ids) ORDER BY t.id FOR UPDATE;
  WITH last AS (
      SELECT DISTINCT ON (o.id) o.* FROM outcomes o WHERE o.id = ANY (ids)
      ORDER BY o.id, o.round DESC),
    put AS (
      INSERT INTO active (id, run_at, created_at, round, starts, priority, name, queue,
                unique_key)
      SELECT t.id, now(), t.created_at, l.round + 1, l.attempt, t.priority, t.name,
        t.queue, t.unique_key
      FROM last l JOIN tasks t ON t.id = l.id WHERE l.status IN (4, 5) ORDER BY t.id
      ON CONFLICT DO NOTHING RETURNING active.id)
  SELECT array_agg(p.id) INTO again FROM put p;
  RETURN QUERY SELECT i.n, CASE
    WHEN t.task_id IS NULL THEN
      operated_json(i.id, 'not_found', NULL, 'no such task', NULL)
    WHEN i.id = ANY (again) THEN
      operated_json(i.id, 'retried', t.status, 'it starts anew', t.queue)
    WHEN t.status IN ('FAILURE', 'REVOKED') THEN
      operated_json(i.id, 'refused', t.status, 'another task holds its unique_key',
             t.queue)
    ELSE operated_json(i.id, 'refused', t.status,
             'only FAILURE and REVOKED can be retried', t.queue) END,
    a.id, a.starts, a.priority, a.run_at,
    hint_queue(a.queue, a.name, ARRAY(SELECT i.name FROM catalogue i WHERE i.isolated))
  FROM unnest(ids) WITH ORDINALITY i (id, n)
    LEFT JOIN LATERAL (SELECT * FROM task_info x WHERE x.task_id = i.id OFFSET 0) t ON true
    LEFT JOIN active a ON a.id = i.id AND a.id = ANY (again)
  ORDER BY i.n;
END $$;

CREATE FUNCTION ctutor.sweep() RETURNS TABLE(id uuid, starts integer, priority smallint, run_at timestamp with time zone, queue text)
    LANGUAGE plpgsql
    SET search_path TO 'ctutor'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'on'
    SET enable_hashjoin TO 'on'
    AS $$
DECLARE
  ended uuid[];
  ids uuid[];
BEGIN
  ended := ARRAY(SELECT w.incarnation FROM workers w
         WHERE w.state <> 'alive' AND NOT w.settled);
  IF cardinality(ended) > 0 THEN
    ids := ARRAY(SELECT a.id FROM active a WHERE a.status = 1 AND a.owner = ANY (ended)
          ORDER BY a.id FOR UPDATE SKIP LOCKED);
    RETURN QUERY SELECT * FROM release_rows(ids, NULL, NULL, true);
    UPDATE workers w SET settled = true
    WHERE w.incarnation = ANY (ended) AND w.ended_at < now() - interval '2 minutes';
  END IF;
  ids := ARRAY(SELECT a.id FROM active a WHERE a.expires_at <= now() AND a.status IN (0, 2)
        ORDER BY a.expires_at LIMIT 10000 FOR UPDATE SKIP LOCKED);
  PERFORM end_rows(ids, 5::smallint, 'expired', 'it expired before it was started');
END $$;

CREATE TABLE ctutor.controls (
    request uuid NOT NULL,
    supervisor uuid NOT NULL,
    worker text NOT NULL,
    verb text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    taken_at timestamp with time zone,
    answer jsonb
);

CREATE TABLE ctutor.load_errors (
    supervisor uuid NOT NULL,
    file text NOT NULL,
    error text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE FUNCTION ctutor.tidy() RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 DELETE FROM ctutor.workers w
   WHERE (w.settled AND (w.ended_at < (now() - '1 day'::interval)));
 DELETE FROM ctutor.load_errors e
   WHERE ((NOT (EXISTS ( SELECT
            FROM ctutor.workers w
           WHERE ((w.incarnation = e.supervisor) AND (w.state = 'alive'::text))))) AND (e.at < (now() - '1 day'::interval)));
 DELETE FROM ctutor.controls c
   WHERE (c.created_at < (now() - '1 day'::interval));
END;

CREATE FUNCTION ctutor.workers_json() RETURNS json
    LANGUAGE sql STABLE
    RETURN (SELECT json_build_object('workers', COALESCE(json_agg(row_to_json(r.*) ORDER BY r.name), '[]'::json)) AS json_build_object FROM (SELECT s.name, s.host, s.pid, ctutor.time_word(s.started_at) AS started_at, s.queues, COALESCE(x.running, (0)::numeric) AS running, COALESCE(x.rate, (0)::double precision) AS rate, COALESCE(x.memory, (0)::numeric) AS memory, COALESCE(x.loop_lag, (0)::double precision) AS loop_lag, s.version, COALESCE(x.fenced, (0)::numeric) AS fenced, COALESCE(x.runners, '[]'::json) AS runners, s.slots FROM (ctutor.workers s LEFT JOIN LATERAL (SELECT sum(((w.stats ->> 'running'::text))::bigint) AS running, sum(((w.stats ->> 'rate'::text))::double precision) AS rate, sum(((w.stats ->> 'memory'::text))::bigint) AS memory, max(((w.stats ->> 'loop_lag'::text))::double precision) AS loop_lag, sum(((w.stats ->> 'fenced'::text))::bigint) AS fenced, json_agg(json_build_object('pid', w.pid, 'running', COALESCE(((w.stats ->> 'running'::text))::bigint, (0)::bigint), 'isolated', w.isolated) ORDER BY w.pid) FILTER (WHERE (w.supervisor IS NOT NULL)) AS runners FROM ctutor.workers w WHERE ((w.state = 'alive'::text) AND ((w.supervisor = s.incarnation) OR (w.incarnation = s.incarnation)))) x ON (true)) WHERE ((s.supervisor IS NULL) AND (s.state = 'alive'::text))) r);

CREATE TABLE ctutor.carried (
    name text NOT NULL,
    seen_at timestamp with time zone NOT NULL
);

CREATE TABLE ctutor.keeper (
    single boolean DEFAULT true NOT NULL,
    holder uuid,
    counter bigint DEFAULT 0 NOT NULL,
    CONSTRAINT keeper_single_check CHECK (single)
);

CREATE TABLE ctutor.queues (
    name text NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    is_full boolean DEFAULT false NOT NULL,
    served_since timestamp with time zone
);

CREATE TABLE ctutor.schema_version (
    version integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE VIEW ctutor.task_types AS
 WITH bad AS (
         SELECT e.file,
            string_agg(DISTINCT e.error, '
'::text) AS error
           FROM (ctutor.load_errors e
             JOIN ctutor.workers w ON (((w.incarnation = e.supervisor) AND (w.state = 'alive'::text))))
          GROUP BY e.file
        ), known AS (
         SELECT c.name,
            (c.entry ->> 'file'::text) AS file,
            c.entry,
            c.isolated
           FROM ctutor.catalogue c
          WHERE (NOT c.removed)
        )
 SELECT COALESCE(k.name, regexp_replace(b.file, '^.*/|\.lua$'::text, ''::text, 'g'::text)) AS name,
    (k.entry -> 'summary'::text) AS summary,
    COALESCE(k.file, b.file) AS file,
    (k.entry -> 'queue'::text) AS queue,
    (k.entry -> 'priority'::text) AS priority,
        CASE
            WHEN (((k.entry ->> 'timeout_us'::text))::bigint >= 0) THEN (((k.entry ->> 'timeout_us'::text))::double precision / ('1000000'::numeric)::double precision)
            ELSE NULL::double precision
        END AS timeout,
        CASE
            WHEN (k.entry IS NOT NULL) THEN ( SELECT row_to_json(r.*) AS row_to_json
               FROM ( SELECT ((k.entry -> 'retry'::text) -> 'max'::text) AS max,
                        ((k.entry -> 'retry'::text) -> 'backoff'::text) AS backoff,
                        ((((k.entry -> 'retry'::text) ->> 'base_us'::text))::double precision / ('1000000'::numeric)::double precision) AS base,
                        ((((k.entry -> 'retry'::text) ->> 'cap_us'::text))::double precision / ('1000000'::numeric)::double precision) AS cap,
                        ((k.entry -> 'retry'::text) -> 'jitter'::text) AS jitter) r)
            ELSE NULL::json
        END AS retries,
    (k.entry -> 'max_losses'::text) AS max_losses,
    COALESCE((k.entry -> 'tags'::text), '[]'::json) AS tags,
    (k.entry -> 'schema'::text) AS parameters,
    (k.entry -> 'version'::text) AS version,
    COALESCE(k.isolated, false) AS isolate,
    NULLIF(COALESCE(((k.entry ->> 'memory'::text))::bigint, (0)::bigint), 0) AS memory,
    COALESCE(( SELECT json_agg(w.name ORDER BY w.name) AS json_agg
           FROM ctutor.workers w
          WHERE ((w.state = 'alive'::text) AND (k.name = ANY (w.carries)))), '[]'::json) AS workers,
    b.error
   FROM (known k
     FULL JOIN bad b ON ((b.file = k.file)));

INSERT INTO ctutor.keeper VALUES (true, NULL, 0);

INSERT INTO ctutor.queues VALUES ('high_priority', false, false, NULL);
INSERT INTO ctutor.queues VALUES ('default', false, false, NULL);
INSERT INTO ctutor.queues VALUES ('low_priority', false, false, NULL);

INSERT INTO ctutor.schema_version VALUES (1, '2026-11-28 03:08:03.458637+00');

SELECT pg_catalog.setval('ctutor.log_seq', 1, false);

ALTER TABLE ONLY ctutor.active
    ADD CONSTRAINT active_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ctutor.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (id, attempt);

ALTER TABLE ONLY ctutor.carried
    ADD CONSTRAINT carried_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ctutor.catalogue
    ADD CONSTRAINT catalogue_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ctutor.controls
    ADD CONSTRAINT controls_pkey PRIMARY KEY (request, supervisor);

ALTER TABLE ONLY ctutor.hooks_owed
    ADD CONSTRAINT hooks_owed_pkey PRIMARY KEY (id, round, attempt, event);

ALTER TABLE ONLY ctutor.keeper
    ADD CONSTRAINT keeper_pkey PRIMARY KEY (single);

ALTER TABLE ONLY ctutor.load_errors
    ADD CONSTRAINT load_errors_pkey PRIMARY KEY (supervisor, file);

ALTER TABLE ONLY ctutor.logs
    ADD CONSTRAINT logs_pkey PRIMARY KEY (id, seq);

ALTER TABLE ONLY ctutor.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (id, round);

ALTER TABLE ONLY ctutor.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ctutor.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);

ALTER TABLE ONLY ctutor.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (name, schema_hash);

ALTER TABLE ONLY ctutor.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ctutor.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (incarnation);

CREATE INDEX active_cancel ON ctutor.active USING btree (cancel_at) WHERE (cancel_at IS NOT NULL);

CREATE INDEX active_expires ON ctutor.active USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE INDEX active_run_at ON ctutor.active USING btree (run_at, uuid_send(id));

CREATE UNIQUE INDEX active_unique ON ctutor.active USING btree (name, unique_key) WHERE (unique_key IS NOT NULL);

CREATE INDEX catalogue_isolated ON ctutor.catalogue USING btree (name) WHERE isolated;

CREATE INDEX outcomes_rare ON ONLY ctutor.outcomes USING btree (id) WHERE (status <> 3);

CREATE UNIQUE INDEX workers_name ON ctutor.workers USING btree (name) WHERE ((supervisor IS NULL) AND (state = 'alive'::text));

