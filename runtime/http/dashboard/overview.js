// overview.js: what an operator leaves open all day.
import { useState } from 'preact/hooks';
import { order, useData, useEvents, useThrottle, useTick } from './api.js';
import { Charts } from './charts.js';
import { link } from './route.js';
import { attempt, Confirm, Empty, html, Icon, Problem, Skeleton, Time } from './ui.js';
import { bytes, duration, number, plural, short } from './words.js';

const LOOK_MS = 2000, AGE_MS = 15000;
const sum = (list, key) => list.reduce((all, one) => all + (one[key] || 0), 0);

const Tile = ({ name, value, note, to, isBad }) =>
  html`<a class=${`card tile ${isBad ? 'is-bad' : ''}`} href=${to}><span>${name}</span><b>${value}</b><small>${note}</small></a>`;

function Tiles({ queues, workers, stats, range }) {
  const points = stats ? stats.points : [];
  const failed = sum(points, 'failed'), succeeded = sum(points, 'succeeded');
  const minutes = stats ? (points.length * stats.step) / 60 : 0;
  const slow = [...points].reverse().find((point) => point.run_p50 !== null && point.run_p50 !== undefined);
  const oldest = queues.reduce((most, one) => Math.max(most, one.oldest_age), 0);
  const since = { since: range };
  return html`<div class="tiles">
    <${Tile} name="Waiting" value=${short(sum(queues, 'waiting'))} to=${link('tasks', null, { status: 'PENDING,RETRY' })}
      note=${oldest > 0 ? `oldest ${duration(oldest)}` : `${short(sum(queues, 'delayed'))} for later`} />
    <${Tile} name="Running" value=${short(sum(queues, 'running'))} to=${link('tasks', null, { status: 'STARTED' })}
      note=${`${short(sum(workers, 'slots'))} places`} />
    <${Tile} name="Done" value=${stats ? short(succeeded) : '–'} to=${link('tasks', null, { status: 'SUCCESS', ...since })}
      note=${minutes ? `${short(succeeded / minutes)} a minute` : 'no figures'} />
    <${Tile} name="Failed" value=${stats ? short(failed) : '–'} isBad=${failed > 0} to=${link('tasks', null, { status: 'FAILURE', ...since })}
      note=${failed + succeeded > 0 ? `${((100 * failed) / (failed + succeeded)).toFixed(1)} % of all` : `in the last ${range === '1h' ? 'hour' : 'day'}`} />
    <${Tile} name="Run time" value=${slow ? duration(slow.run_p50) : '–'} to=${link('tasks')} note=${slow ? `99 % within ${duration(slow.run_p99)}` : 'half of them within'} />
    <${Tile} name="Workers" value=${number(workers.length)} isBad=${workers.length === 0} note=${`${short(sum(workers, 'rate'))} tasks/s`} />
  </div>`;
}

function Warnings({ queues, workers, types }) {
  const list = [];
  if (workers.length === 0) list.push(['No worker lives: nothing is started.', null]);
  for (const queue of queues)
    if (queue.workers === 0 && queue.waiting + queue.delayed > 0 && workers.length > 0)
      list.push([html`No live worker serves the queue <b>${queue.name}</b>, where ${plural(queue.waiting + queue.delayed, 'task waits', 'tasks wait')}.`,
        link('tasks', null, { queue: queue.name })]);
  for (const queue of queues) if (queue.paused) list.push([html`The queue <b>${queue.name}</b> is paused, ${plural(queue.waiting, 'task waits', 'tasks wait')}.`, null]);
  const broken = types.filter((type) => type.error);
  if (broken.length > 0) list.push([html`${plural(broken.length, 'task file does', 'task files do')} not load: <b>${broken.map((one) => one.name).join(', ')}</b>.`, link('catalogue')]);
  return list.length > 0 && html`<ul class="warnings" aria-label="Warnings">${list.map(([text, to], i) =>
    html`<li key=${i}><${Icon} name="warn" /><span>${text}</span>${to && html`<a href=${to}>Show</a>`}</li>`)}</ul>`;
}

function Queues({ queues, reload, ask }) {
  const most = Math.max(1, ...queues.map((one) => one.waiting + one.delayed + one.running));
  const pause = (queue) => ask({
    title: `Pause ${queue.name}?`, word: 'Pause the queue', text: 'No worker starts anything more from it until it is resumed. What runs goes on.',
    go: () => attempt(() => order(`/api/queues/${encodeURIComponent(queue.name)}/pause`), `${queue.name} is paused`).then(reload),
  });
  const resume = (queue) => attempt(() => order(`/api/queues/${encodeURIComponent(queue.name)}/resume`), `${queue.name} goes on`).then(reload);
  if (queues.length === 0) return html`<${Empty}>There is no queue yet.</${Empty}>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Queues"><table>
    <thead><tr><th>Queue</th><th class="wide">Load</th><th class="n">Waiting</th><th class="n">Later</th><th class="n">Running</th><th class="n">Oldest</th><th class="n">Workers</th><th><span class="hidden">Pause</span></th></tr></thead>
    <tbody>${queues.map((queue) => html`<tr key=${queue.name} class=${queue.paused ? 'is-paused' : ''}>
      <td><a href=${link('tasks', null, { queue: queue.name, status: 'PENDING,STARTED,RETRY' })}>${queue.name}</a>${queue.paused && html` <span class="tag">paused</span>`}</td>
      <td class="wide"><span class="load" aria-hidden="true">${['running', 'waiting', 'delayed'].map((key) =>
        html`<i key=${key} class=${`is-${key}`} style=${{ width: `${(100 * queue[key]) / most}%` }}></i>`)}</span></td>
      <td class="n">${number(queue.waiting)}</td><td class="n">${number(queue.delayed)}</td><td class="n">${number(queue.running)}</td>
      <td class="n">${queue.oldest_age > 0 ? duration(queue.oldest_age) : '–'}</td>
      <td class="n">${queue.workers === 0 ? html`<b class="bad">none</b>` : queue.workers}</td>
      <td class="n">${queue.paused ? html`<button class="small needs-admin" onClick=${() => resume(queue)}>Resume<span class="hidden"> ${queue.name}</span></button>`
        : html`<button class="small ghost needs-admin" onClick=${() => pause(queue)}>Pause<span class="hidden"> ${queue.name}</span></button>`}</td></tr>`)}</tbody></table></div>`;
}

function Workers({ workers }) {
  if (workers.length === 0) return html`<${Empty}>No worker lives. Start one: <code>ctutor-run worker start</code></${Empty}>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Workers"><table>
    <thead><tr><th>Worker</th><th class="n">Running</th><th class="n">Tasks/s</th><th class="n">Memory</th><th class="n">Loop lag</th><th class="n">Fenced</th><th>Queues</th><th>Version</th><th>Up since</th></tr></thead>
    <tbody>${workers.map((worker) => html`<tr key=${`${worker.name}/${worker.pid}`}>
      <td><a class="name" href=${link('tasks', null, { worker: worker.name })}>${worker.name}</a> <small class="dim">${worker.host}:${worker.pid}</small></td>
      <td class="n">${number(worker.running)}${worker.slots ? html` <small class="dim">/ ${short(worker.slots)}</small>` : ''}</td>
      <td class="n">${short(worker.rate)}</td><td class="n">${bytes(worker.memory)}</td>
      <td class="n">${worker.loop_lag > 0.5 ? html`<b class="bad">${duration(worker.loop_lag)}</b>` : duration(worker.loop_lag) || '–'}</td>
      <td class="n">${worker.fenced > 0 ? html`<b class="bad">${worker.fenced}</b>` : '0'}</td>
      <td class="text">${(worker.queues || []).join(', ')}</td><td><code>${worker.version || '–'}</code></td><td><${Time} at=${worker.started_at} /></td></tr>`)}</tbody></table></div>`;
}

export function Overview({ isDark }) {
  const [range, setRange] = useState('1h'), [question, ask] = useState(null);
  const queues = useData('/api/queues'), workers = useData('/api/workers'), types = useData('/api/tasks/types'), stats = useData(`/api/stats?since=${range}`);
  const look = useThrottle(() => Promise.all([queues.reload(), workers.reload()]), LOOK_MS);
  useEvents('/api/events', (event) => event.event !== 'progress' && event.event !== 'log' && look());
  useTick(AGE_MS, () => {
    look();
    stats.reload();
    types.reload();
  });
  const isThere = queues.data && workers.data;
  const figures = stats.data && Array.isArray(stats.data.points) && !stats.isOld ? stats.data : null;
  return html`<section class="page">
    <header><h1>Overview</h1><div class="segments" role="group" aria-label="Figures of">${[['1h', 'Last hour'], ['1d', 'Last day']].map(([key, name]) =>
      html`<button key=${key} aria-pressed=${range === key} onClick=${() => setRange(key)}>${name}</button>`)}</div></header>
    <${Problem} error=${queues.error || workers.error} again=${look} />
    ${!isThere && !queues.error && html`<${Skeleton} />`}
    ${isThere && html`
      <${Warnings} queues=${queues.data.queues} workers=${workers.data.workers} types=${types.data || []} />
      <${Tiles} queues=${queues.data.queues} workers=${workers.data.workers} stats=${figures} range=${range} />
      ${figures && figures.points.length > 0 && html`<${Charts} key=${range} stats=${figures} isDark=${isDark} />`}
      <div class="card"><h2>Queues</h2><${Queues} queues=${queues.data.queues} reload=${queues.reload} ask=${ask} /></div>
      <div class="card" id="workers"><h2>Workers</h2><${Workers} workers=${workers.data.workers} /></div>`}
    <${Confirm} ask=${question} onClose=${() => ask(null)} />
  </section>`;
}
