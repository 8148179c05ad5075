// run.js: any task of the catalogue as a form.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { api, post, useData } from './api.js';
import { collect, Field, isRequired, MASK, namesOf, textOf, valueOf } from './form.js';
import { go, link } from './route.js';
import { Empty, html, Problem, say, Skeleton } from './ui.js';
import { plural } from './words.js';

const OPTIONS = {
  priority: { schema: { type: 'integer', minimum: 0, maximum: 10, description: 'higher starts first' } },
  queue: { schema: { type: 'string', description: 'chosen by the task when empty' } },
  delay: { schema: { type: 'string', title: 'delay', description: 'such as 90, 10s, 5m or 2h' } },
  timeout: { schema: { type: 'string', description: 'of one attempt, such as 5m' } },
  retries: { schema: { type: 'integer', minimum: 0, description: 'how often a failed attempt is repeated' } },
  expires: { schema: { type: 'string', description: 'not started after that, such as 1h' } },
  unique_key: { schema: { type: 'string', description: 'held until the task is final' } },
  tags: { schema: { type: 'string', description: 'with commas' } },
};
const isEmpty = (object) => Object.keys(object).length === 0;

function Choice({ types }) {
  const [text, setText] = useState('');
  const fitting = types.filter((type) => type.parameters && `${type.name} ${type.summary || ''}`.toLowerCase().includes(text.toLowerCase()));
  return html`<section class="page narrow"><header><h1>Run a task</h1></header>
    <label class="field"><span class="hidden">Find a task</span><input type="search" class="find" placeholder="Find a task" value=${text} onInput=${(event) => setText(event.target.value)} /></label>
    ${fitting.length === 0 && html`<${Empty}>${types.length === 0 ? 'The catalogue is empty: no worker has loaded a task yet.' : 'No task of the catalogue fits.'}</${Empty}>`}
    <ul class="choice">${fitting.map((type) => html`<li key=${type.name}><a class="card" href=${link('run', type.name)}><b>${type.name}</b><span>${type.summary}</span>
      <small class="dim">${plural(Object.keys(type.parameters.properties || {}).length, 'parameter')}${type.workers.length === 0 ? ', no live worker carries it' : ''}</small></a></li>`)}</ul></section>`;
}

function Form({ type, from }) {
  const schema = type.parameters, names = namesOf(schema);
  const known = from ? from.parameters || {} : {};
  const [texts, setTexts] = useState(() => Object.fromEntries(names.map((name) => [name, textOf(schema.properties[name], known[name])])));
  const [more, setMore] = useState(() => {
    const rest = Object.fromEntries(Object.entries(known).filter(([name]) => !names.includes(name)));
    return isEmpty(rest) ? '' : JSON.stringify(rest, null, 2);
  });
  const [options, setOptions] = useState(() => (from ? { priority: String(from.priority), queue: from.queue, tags: (from.tags || []).join(', ') } : {}));
  const [problems, setProblems] = useState({}), [error, setError] = useState(null), [isBusy, setBusy] = useState(false);
  const lost = names.filter((name) => schema.properties[name].writeOnly && known[name] === MASK);

  const body = () => {
    const found = collect(schema, texts), wrong = found.problems, out = { task_name: type.name, parameters: found.parameters };
    if (more.trim()) {
      const { value, problem } = valueOf({ type: 'object' }, more);
      if (problem || typeof value !== 'object') wrong.more = 'must be a JSON object';
      else Object.assign(out.parameters, value);
    }
    for (const [name, { schema: one }] of Object.entries(OPTIONS)) {
      const { value, problem } = valueOf(one, (options[name] || '').trim());
      if (problem) wrong[name] = problem;
      else if (value !== undefined) out[name] = name === 'tags' ? value.split(',').map((tag) => tag.trim()).filter(Boolean) : /^\d+(\.\d+)?$/.test(value) && ['delay', 'timeout', 'expires'].includes(name) ? Number(value) : value;
    }
    return { out, wrong };
  };
  const send = async (event) => {
    event.preventDefault();
    const { out, wrong } = body();
    setProblems(wrong);
    setError(null);
    if (!isEmpty(wrong)) return focusFirst();
    setBusy(true);
    try {
      const answer = await post('/api/tasks/submit', out);
      for (const warning of answer.warnings || []) say(warning, true);
      if (answer.status === 'duplicate') say('It was there already.');
      go('tasks', answer.task_id);
    } catch (failed) {
      setProblems(Object.fromEntries(failed.errors.map((one) => [one.field.split(/[.[]/)[0], one.message])));
      setError(failed);
      setBusy(false);
      focusFirst();
    }
    return undefined;
  };
  return html`<section class="page narrow"><header><div class="title"><h1>${type.name}</h1></div><a class="button ghost" href=${link('run')}>Other task</a></header>
    ${type.summary && html`<p class="dim">${type.summary}</p>`}
    ${type.error && html`<${Problem} error=${{ message: `Its file does not load; the version before runs. ${type.error}` }} />`}
    ${type.workers.length === 0 && html`<${Problem} error=${{ message: 'No live worker carries this task: it will wait.' }} />`}
    ${lost.length > 0 && html`<${Problem} error=${{ message: `Secrets are not shown: give ${lost.join(', ')} again.` }} />`}
    <form class="card" onSubmit=${send} novalidate>
      ${names.length === 0 && !schema.additionalProperties && html`<${Empty}>It takes no parameters.</${Empty}>`}
      ${names.map((name) => html`<${Field} key=${name} name=${name} schema=${schema.properties[name]} required=${isRequired(schema, name)} text=${texts[name]} problem=${problems[name]}
        set=${(text) => setTexts({ ...texts, [name]: text })} />`)}
      ${schema.additionalProperties && html`<${Field} name="more" schema=${{ type: 'object', title: 'further parameters' }} text=${more} problem=${problems.more} set=${setMore} />`}
      <details open=${Object.keys(OPTIONS).some((name) => problems[name] && !names.includes(name)) || Boolean(from)}><summary>Priority, queue, delay and more</summary>
        <div class="grid">${Object.entries(OPTIONS).map(([name, { schema: one }]) => html`<${Field} key=${name} name=${`option-${name}`} schema=${{ title: name.replace('_', ' '), ...one }} text=${options[name] || ''}
          problem=${names.includes(name) ? undefined : problems[name]} set=${(text) => setOptions({ ...options, [name]: text })} />`)}</div></details>
      <${Problem} error=${error} />
      <div class="row end"><button class="primary" type="submit" disabled=${isBusy}>${isBusy ? 'Sending …' : 'Run'}</button></div>
    </form></section>`;
}

const focusFirst = () => setTimeout(() => {
  const wrong = document.querySelector('.is-wrong input, .is-wrong select, .is-wrong textarea');
  if (wrong) wrong.focus();
}, 0);

export function Run({ name, query }) {
  const types = useData('/api/tasks/types'), [from, setFrom] = useState(undefined), source = query.get('from');
  useEffect(() => {
    setFrom(source ? undefined : null);
    if (source) api(`/api/tasks/${encodeURIComponent(source)}`).then(setFrom, () => setFrom(null));
  }, [source]);
  const type = useMemo(() => types.data && types.data.find((one) => one.name === name), [types.data, name]);
  if (types.error) return html`<section class="page"><${Problem} error=${types.error} again=${types.reload} /></section>`;
  if (!types.data || from === undefined) return html`<section class="page narrow"><${Skeleton} /></section>`;
  if (!name) return html`<${Choice} types=${types.data} />`;
  if (!type || !type.parameters) return html`<section class="page narrow"><header><h1>${name}</h1></header><${Problem} error=${{ message: 'There is no such task in the catalogue.' }} /><a href=${link('run')}>All tasks</a></section>`;
  return html`<${Form} key=${`${name}/${source}`} type=${type} from=${from} />`;
}
