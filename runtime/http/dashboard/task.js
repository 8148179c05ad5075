// task.js: one task: what it is, how far it is, what came of it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, order, useData, useEvents, useThrottle, useTick } from './api.js';
import { go, link } from './route.js';
import { attempt, Confirm, Copy, Empty, html, isFinal, Json, Problem, Progress, Skeleton, Status, Text, Time } from './ui.js';
import { ago, clock, duration, moment } from './words.js';

const LOOK_MS = 300, LOGS_MS = 1500, LINES_MOST = 5000;

const Failure = ({ error }) => html`<div class="failure"><p><span class="tag is-bad">${error.kind}</span> <b class="pre"><${Text} value=${error.message} /></b></p>
  ${error.details !== undefined && error.details !== null && html`<${Json} value=${error.details} />`}
  ${error.traceback && html`<details><summary>Traceback</summary><pre>${error.traceback}</pre></details>`}</div>`;

// What happened when, oldest first.
function story(task) {
  const errors = task.errors || (task.error ? [task.error] : []);
  const list = [{ at: task.created_at, what: 'submitted', mark: 'pending', note: task.created_by ? `by ${task.created_by}` : '' }];
  for (const error of errors) list.push({ at: error.at, what: error.attempt ? `attempt ${error.attempt} failed` : 'failed', mark: isFinal(task.status) && error === errors[errors.length - 1] && task.status === 'REVOKED' ? 'revoked' : 'failure', error });
  if (task.started_at && (task.status === 'STARTED' || task.status === 'SUCCESS'))
    list.push({ at: task.started_at, what: `attempt ${task.attempt} started`, mark: 'started', note: task.worker ? `on ${task.worker}` : '' });
  if (task.cancel_requested_at) list.push({ at: task.cancel_requested_at, what: 'cancel asked for', mark: 'revoked' });
  if (!isFinal(task.status) && task.status !== 'STARTED' && Date.parse(task.run_at) > Date.parse(task.created_at) + 1000)
    list.push({ at: task.run_at, what: task.status === 'RETRY' ? `attempt ${task.attempt + 1} is due` : 'is due', mark: 'retry' });
  if (task.finished_at) list.push({ at: task.finished_at, what: task.status, mark: task.status.toLowerCase(), note: task.duration !== null ? `after ${duration(task.duration)}` : '' });
  return list.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

function Timeline({ task }) {
  useTick(5000);
  return html`<ol class="timeline">${story(task).map((one, i) => html`<li key=${i} class=${`is-${one.mark}`}>
    <p><b>${one.what}</b> ${one.note && html`<span class="dim">${one.note}</span>`}<time datetime=${one.at} title=${moment(one.at)}>${clock(one.at)} · ${ago(one.at)}</time></p>
    ${one.error && html`<${Failure} error=${one.error} />`}</li>`)}</ol>`;
}

// The ledger's clock and an event's are not one.
const NEAR_MS = 2000, TAIL = 200;
const same = (a, b) => a.attempt === b.attempt && a.level === b.level && a.text === b.text && Math.abs(Date.parse(a.at) - Date.parse(b.at)) < NEAR_MS;
const missing = (kept, live) => live.filter((line) => !kept.slice(-TAIL).some((one) => same(one, line)));

// Lines as they are told, until the ledger has them; then the ledger's, each once.
function useLogs(id) {
  const [lines, setLines] = useState({ kept: [], live: [] }), seq = useRef(0);
  const load = useThrottle(async () => {
    try {
      for (let more = true; more;) {
        const page = await api(`/api/tasks/${id}/logs?after=${seq.current}`);
        more = page.has_more;
        if (page.logs.length) seq.current = page.logs[page.logs.length - 1].seq;
        setLines((was) => {
          const kept = [...was.kept, ...page.logs].slice(-LINES_MOST);
          return { kept, live: missing(kept, was.live) };
        });
      }
    } catch { /* the task's own request says what is wrong */ }
  }, LOGS_MS);
  const hear = (line) => {
    setLines((was) => ({ ...was, live: [...was.live, ...missing(was.kept, [line])].slice(-LINES_MOST) }));
    load();
  };
  return { lines: [...lines.kept, ...lines.live], hear, load };
}

function Logs({ lines, isLive }) {
  const box = useRef(null), isFollowing = useRef(true);
  useEffect(() => {
    if (box.current && isFollowing.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length]);
  const scrolled = () => {
    isFollowing.current = box.current.scrollTop + box.current.clientHeight > box.current.scrollHeight - 24;
  };
  return html`<div class="card"><h2>Log ${isLive && html`<span class="pulse" title="as it is written"></span>`}</h2>
    ${lines.length === 0 ? html`<${Empty}>${isLive ? 'Nothing logged yet.' : 'It logged nothing.'}</${Empty}>`
      : html`<div class="log" ref=${box} onScroll=${scrolled} tabindex="0" role="log" aria-label="Log of the task">${lines.map((line, i) =>
        html`<p key=${i} class=${`is-${line.level}`}><time title=${moment(line.at)}>${clock(line.at)}</time><i>${line.level}</i><span><${Text} value=${line.text} /></span></p>`)}</div>`}</div>`;
}

function Children({ id }) {
  const list = useData(`/api/tasks?parent=${id}&limit=20`);
  if (!list.data || list.data.tasks.length === 0) return null;
  return html`<div class="card"><h2>Children</h2><ul class="plain">${list.data.tasks.map((task) =>
    html`<li key=${task.task_id}><${Status} of=${task.status} /> <a href=${link('tasks', task.task_id)}>${task.task_name}</a> <span class="dim">${duration(task.duration)}</span></li>`)}</ul>
    ${list.data.has_more && html`<a href=${link('tasks', null, { parent: id })}>All of them</a>`}</div>`;
}

function Facts({ task }) {
  const facts = [
    [html`Id <${Copy} text=${task.task_id} what="copy the id" />`, html`<code class="break">${task.task_id}</code>`],
    ['Queue', html`<a href=${link('tasks', null, { queue: task.queue })}>${task.queue}</a>`], ['Priority', task.priority],
    ['Attempt', `${task.attempt} of ${task.max_attempts}${task.failures ? `, ${task.failures} failed` : ''}`],
    ['Submitted', html`<${Time} at=${task.created_at} />`], ['By', task.created_by],
    ['Due', !isFinal(task.status) && task.status !== 'STARTED' ? html`<${Time} at=${task.run_at} />` : null],
    ['Started', task.started_at && html`<${Time} at=${task.started_at} />`], ['Finished', task.finished_at && html`<${Time} at=${task.finished_at} />`],
    ['Run time', task.duration !== null ? duration(task.duration) : null], ['Timeout', task.timeout === null ? 'none' : duration(task.timeout)],
    ['Expires', task.expires_at && html`<${Time} at=${task.expires_at} />`],
    ['Worker', task.worker && html`<a class="break" href=${link('tasks', null, { worker: task.worker })}>${task.worker}</a>`],
    ['Code', task.task_version && html`<code>${task.task_version}</code>`],
    ['Unique key', task.unique_key && html`<code class="break">${task.unique_key}</code>`],
    ['Tags', task.tags.length > 0 && task.tags.map((tag) => html`<a key=${tag} class="tag" href=${link('tasks', null, { tag })}>${tag}</a> `)],
    ['Parent', task.parent_id && html`<a href=${link('tasks', task.parent_id)}><code>…${task.parent_id.slice(-8)}</code></a>`],
  ];
  return html`<dl class="facts">${facts.filter(([, value]) => value || value === 0).map(([name, value], i) => html`<div key=${i}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Actions({ task, ask, reload }) {
  const id = task.task_id, final = isFinal(task.status);
  const cancel = () => attempt(() => order(`/api/tasks/${id}/cancel`), (answer) => (answer.status === 'cancelling' ? 'It is told to stop' : 'Cancelled')).then(reload);
  const retry = () => attempt(() => order(`/api/tasks/${id}/retry`), 'It runs again').then(reload);
  const forget = () => ask({
    title: 'Delete this task?', word: 'Delete', isBad: true, text: 'Its parameters, result and log are gone for good.',
    go: async () => (await attempt(() => order(`/api/tasks/${id}`, 'DELETE'), 'Deleted')) && go('tasks'),
  });
  const stop = () => (task.status === 'STARTED' ? ask({ title: 'Cancel this task?', word: 'Cancel the task', isBad: true, text: 'It runs. It is told to stop, and may clean up for a few seconds.', go: cancel }) : cancel());
  return html`<div class="row">
    ${!final && html`<button class="danger needs-submit" disabled=${Boolean(task.cancel_requested_at)} onClick=${stop}>${task.cancel_requested_at ? 'Cancelling …' : 'Cancel'}</button>`}
    ${(task.status === 'FAILURE' || task.status === 'REVOKED') && html`<button class="primary needs-submit" onClick=${retry}>Retry</button>`}
    <a class="button needs-submit" href=${link('run', task.task_name, { from: id })}>Run again with changes</a>
    ${final && html`<button class="ghost needs-admin" onClick=${forget}>Delete</button>`}</div>`;
}

function Advance({ task }) {
  const { percentage, metadata } = task.progress || {};
  if (percentage === null || percentage === undefined) return null;
  return html`<div class="card advance"><h2>Progress</h2><${Progress} of=${task.progress} label="progress of the task" />${metadata !== null && metadata !== undefined && html`<${Json} value=${metadata} />`}</div>`;
}

export function Task({ id }) {
  const asked = useData(`/api/tasks/${encodeURIComponent(id)}/result?timeout=0`), [live, setLive] = useState(null), [question, ask] = useState(null);
  const logs = useLogs(id), look = useThrottle(asked.reload, LOOK_MS);
  const task = asked.data && { ...asked.data, progress: live || asked.data.progress };
  const isOver = Boolean(task) && isFinal(task.status);
  useEffect(() => setLive(null), [asked.data]);
  useEffect(() => logs.load(), [isOver]);
  useEvents(task && !isOver ? `/api/tasks/${id}/events` : null, (event) => {
    if (event.event === 'progress') setLive({ percentage: event.percentage, metadata: event.metadata, updated_at: event.at });
    else if (event.event === 'log') logs.hear(event);
    else look();
    if (event.event === 'poll') logs.load();
  });
  if (asked.error && !task) return html`<section class="page"><header><h1>Task</h1></header><${Problem} error=${asked.error} again=${asked.reload} /></section>`;
  if (!task) return html`<section class="page"><${Skeleton} lines=${8} /></section>`;
  const reload = () => asked.reload();
  return html`<section class="page">
    <header><div class="title"><h1>${task.task_name}</h1><${Status} of=${task.status} /></div><${Actions} task=${task} ask=${ask} reload=${reload} /></header>
    <${Problem} error=${asked.error} again=${asked.reload} />
    ${!isOver && html`<${Advance} task=${task} />`}
    <div class="columns"><div>
      ${task.error && task.status !== 'SUCCESS' && html`<div class="card"><h2>Error</h2><${Failure} error=${task.error} /></div>`}
      ${task.status === 'SUCCESS' && html`<div class="card"><h2>Result <${Copy} text=${() => JSON.stringify(task.result, null, 2)} what="copy the result" /></h2><${Json} value=${task.result} /></div>`}
      <div class="card"><h2>Parameters <${Copy} text=${() => JSON.stringify(task.parameters, null, 2)} what="copy the parameters" /></h2><${Json} value=${task.parameters} /></div>
      ${isOver && html`<${Advance} task=${task} />`}
      <${Logs} lines=${logs.lines} isLive=${!isOver} />
    </div><div>
      <div class="card"><h2>Facts</h2><${Facts} task=${task} /></div>
      <div class="card"><h2>Timeline</h2><${Timeline} task=${task} /></div>
      <${Children} id=${id} />
    </div></div>
    <${Confirm} ask=${question} onClose=${() => ask(null)} />
  </section>`;
}
