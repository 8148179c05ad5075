// tasks.js: lists by filter, and what is done to many at once. The filter is the address: a list can be shared.
import { useEffect, useRef, useState } from 'preact/hooks';
import { post, useData, useEvents, useThrottle } from './api.js';
import { go, link } from './route.js';
import { attempt, Confirm, Empty, html, Problem, Progress, Skeleton, Status, STATUSES, Time } from './ui.js';
import { duration, number, plural } from './words.js';

const PAGE = 50, LOOK_MS = 1500;
const FIELDS = ['status', 'name', 'queue', 'tag', 'worker', 'parent', 'text', 'since', 'until'];
const TIMES = [['', 'any time'], ['15m', '15 minutes'], ['1h', 'last hour'], ['1d', 'last day'], ['7d', 'last week']];
const ORDERS = {
  cancel: { word: 'Cancel', done: 'cancelled', fits: ['PENDING', 'STARTED', 'RETRY'], text: 'What waits is not started; what runs is told to stop.' },
  retry: { word: 'Retry', done: 'to be run again', fits: ['FAILURE', 'REVOKED'], text: 'They run again under the same ids, with all their attempts.' },
  delete: { word: 'Delete', done: 'deleted', fits: ['SUCCESS', 'FAILURE', 'REVOKED'], isBad: true, text: 'Their parameters, results and logs are gone for good.' },
};

function Filters({ query, set, types, queues }) {
  const chosen = (query.get('status') || '').split(',').filter(Boolean);
  const toggle = (status) => set({ status: (chosen.includes(status) ? chosen.filter((one) => one !== status) : [...chosen, status]).join(',') });
  const field = (name, label, props = {}) => html`<label class="field"><span>${label}</span>
    <input name=${name} value=${query.get(name) || ''} autocomplete="off" spellcheck="false" onChange=${(event) => set({ [name]: event.target.value.trim() })} ...${props} /></label>`;
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    <div class="segments" role="group" aria-label="Status">${STATUSES.map((status) =>
      html`<button type="button" key=${status} aria-pressed=${chosen.includes(status)} onClick=${() => toggle(status)}><${Status} of=${status} /></button>`)}</div>
    <div class="fields">
      ${field('text', 'Text in parameters', { type: 'search', class: 'find', placeholder: 'press /' })}
      ${field('name', 'Task', { list: 'known-names' })}
      ${field('queue', 'Queue', { list: 'known-queues' })}
      ${field('tag', 'Tag')}
      ${query.get('worker') && field('worker', 'Worker')}
      ${query.get('parent') && field('parent', 'Children of')}
      <label class="field"><span>Submitted</span><select value=${query.get('since') || ''} onChange=${(event) => set({ since: event.target.value })}>
        ${TIMES.map(([key, name]) => html`<option key=${key} value=${key}>${name}</option>`)}</select></label>
      ${FIELDS.some((name) => query.get(name)) && html`<button type="button" class="ghost" onClick=${() => go('tasks')}>Clear</button>`}
    </div>
    <datalist id="known-names">${types.map((type) => html`<option key=${type.name} value=${type.name} />`)}</datalist>
    <datalist id="known-queues">${queues.map((queue) => html`<option key=${queue.name} value=${queue.name} />`)}</datalist>
  </form>`;
}

const runTime = (task) => (task.status === 'STARTED' && task.started_at ? (Date.now() - Date.parse(task.started_at)) / 1000 : task.duration);

function Row({ task, isChosen, choose }) {
  return html`<tr class=${isChosen ? 'is-chosen' : ''}>
    <td class="check"><input type="checkbox" checked=${isChosen} onChange=${choose} aria-label=${`select ${task.task_name} ${task.task_id}`} /></td>
    <td><${Status} of=${task.status} /></td>
    <td class="text"><a class="name" href=${link('tasks', task.task_id)}>${task.task_name}</a>
      ${task.error && task.status !== 'SUCCESS' ? html`<small class="dim clip">${task.error.message}</small>`
        : html`<small class="dim clip">${Object.entries(task.parameters || {}).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join(', ').slice(0, 200)}</small>`}</td>
    <td class="more"><code>…${task.task_id.slice(-8)}</code></td>
    <td class="more">${task.queue}</td>
    <td class="n more">${task.attempt}<small class="dim"> / ${task.max_attempts}</small></td>
    <td class="wide more">${task.status === 'STARTED' && task.progress && task.progress.percentage !== null
      ? html`<${Progress} of=${task.progress} label=${`progress of ${task.task_id}`} />` : html`<span class="dim">${duration(runTime(task)) || '–'}</span>`}</td>
    <td><${Time} at=${task.created_at} /></td></tr>`;
}

// "1 – 50 of 3,000", earlier and later pages.
function Pages({ list, set }) {
  const first = list.total === 0 ? 0 : list.offset + 1, last = list.offset + list.tasks.length;
  return html`<nav class="pages" aria-label="Pages"><span>${number(first)} – ${number(last)} of ${number(list.total)}${list.total_capped ? '+' : ''}</span>
    <button class="small" disabled=${list.offset === 0} onClick=${() => set({ offset: String(Math.max(0, list.offset - PAGE)) })}>Newer</button>
    <button class="small" disabled=${!list.has_more} onClick=${() => set({ offset: String(list.offset + PAGE) })}>Older</button></nav>`;
}

export function Tasks({ query }) {
  const [chosen, setChosen] = useState(new Set()), [isAll, setAll] = useState(false), [question, ask] = useState(null);
  const filter = Object.fromEntries(FIELDS.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
  const asked = new URLSearchParams({ ...filter, limit: PAGE, offset: query.get('offset') || 0, ...(query.get('sort') ? { sort: query.get('sort') } : {}) });
  const list = useData(`/api/tasks?${asked}`), types = useData('/api/tasks/types'), queues = useData('/api/queues');
  const look = useThrottle(list.reload, LOOK_MS), all = useRef(null);
  useEvents('/api/events', (event) => event.event !== 'log' && look());
  const key = JSON.stringify(filter);
  useEffect(() => {
    setChosen(new Set());
    setAll(false);
  }, [key]);
  const set = (change) => {
    const next = { ...filter, sort: query.get('sort') || '', ...('offset' in change ? {} : { offset: '' }), ...change };
    go('tasks', null, Object.fromEntries(Object.entries(next).filter(([, value]) => value && value !== '0')));
  };
  const tasks = list.data ? list.data.tasks : [], ids = tasks.map((task) => task.task_id);
  const isPage = ids.length > 0 && ids.every((id) => chosen.has(id));
  useEffect(() => {
    if (all.current) all.current.indeterminate = !isPage && chosen.size > 0;
  });
  const choose = (id) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setAll(false);
    setChosen(next);
  };
  const choosePage = () => {
    setAll(false);
    setChosen(isPage ? new Set() : new Set([...chosen, ...ids]));
  };
  const total = list.data ? `${number(list.data.total)}${list.data.total_capped ? '+' : ''}` : '';
  const order = (verb) => {
    const words = ORDERS[verb], many = isAll ? `all ${total} that match` : plural(chosen.size, 'task');
    // Who comes after the question was asked is not meant.
    const body = isAll ? { filter: { until: new Date().toISOString(), ...filter } } : { ids: [...chosen] };
    ask({
      title: `${words.word} ${many}?`, word: `${words.word} ${isAll ? 'all' : chosen.size}`, isBad: words.isBad,
      text: `${words.text} Only those that are ${words.fits.join(', ')} are touched.`,
      go: () => attempt(() => post(`/api/tasks/${verb}`, body), (answer) =>
        `${plural(answer.done, 'task')} ${words.done}${answer.refused ? `, ${number(answer.refused)} left as they are` : ''}`).then(() => {
        setChosen(new Set());
        setAll(false);
        list.reload();
      }),
    });
  };
  const isOldest = query.get('sort') === 'created_at';
  return html`<section class="page">
    <header><h1>Tasks</h1><a class="button primary needs-submit" href=${link('run')}>Run a task</a></header>
    <${Filters} query=${query} set=${set} types=${types.data || []} queues=${queues.data ? queues.data.queues : []} />
    <${Problem} error=${list.error} again=${list.reload} />
    <div class=${`bulk ${chosen.size > 0 ? 'is-on' : ''}`} role="toolbar" aria-label="Selected tasks">
      ${chosen.size > 0 && html`<b>${isAll ? `All ${total}` : number(chosen.size)} selected</b>
        ${isPage && !isAll && list.data.total > chosen.size && html`<button class="link" onClick=${() => setAll(true)}>Select all ${total} that match</button>`}
        <span class="space"></span>${Object.keys(ORDERS).map((verb) => html`<button key=${verb} class=${`small ${ORDERS[verb].isBad ? 'danger needs-admin' : 'needs-submit'}`} onClick=${() => order(verb)}>${ORDERS[verb].word}</button>`)}
        <button class="small ghost" onClick=${() => { setChosen(new Set()); setAll(false); }}>Clear</button>`}</div>
    ${!list.data && !list.error && html`<${Skeleton} lines=${8} />`}
    ${list.data && html`<div class=${`card flush ${list.isOld ? 'is-old' : ''}`}>
      ${tasks.length === 0 ? html`<${Empty}>${Object.keys(filter).length ? 'No task matches these filters.' : html`No task yet. <a href=${link('run')}>Run the first one</a>.`}</${Empty}>`
        : html`<div class="scroll" tabindex="0" role="region" aria-label="Tasks"><table class="tasks">
          <thead><tr><th class="check"><input ref=${all} type="checkbox" checked=${isPage} onChange=${choosePage} aria-label="select this page" /></th>
            <th>Status</th><th>Task</th><th class="more">Id</th><th class="more">Queue</th><th class="n more">Attempt</th><th class="wide more">Run</th>
            <th aria-sort=${isOldest ? 'ascending' : 'descending'}><button class="sort" onClick=${() => set({ sort: isOldest ? '' : 'created_at' })}>Submitted ${isOldest ? '↑' : '↓'}</button></th></tr></thead>
          <tbody>${tasks.map((task) => html`<${Row} key=${task.task_id} task=${task} isChosen=${isAll || chosen.has(task.task_id)} choose=${() => choose(task.task_id)} />`)}</tbody></table></div>`}
      <${Pages} list=${list.data} set=${set} /></div>`}
    <${Confirm} ask=${question} onClose=${() => ask(null)} />
  </section>`;
}
