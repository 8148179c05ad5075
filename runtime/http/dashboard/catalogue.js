// catalogue.js: which tasks there are, in which version, and whose files do not load.
import { useState } from 'preact/hooks';
import { order, useData, useTick } from './api.js';
import { link } from './route.js';
import { attempt, Empty, html, Problem, Skeleton } from './ui.js';
import { duration, plural } from './words.js';

const LOOK_MS = 10000;

const typeWord = (schema) => (schema.enum ? schema.enum.map((one) => JSON.stringify(one)).join(' | ') : Array.isArray(schema.type) ? schema.type.join(' | ') : schema.type || 'any');

function Parameters({ schema }) {
  const names = Object.keys(schema.properties || {});
  if (names.length === 0) return html`<p class="dim">It takes no parameters.</p>`;
  return html`<dl class="facts">${names.map((name) => html`<div key=${name}><dt><code>${name}</code>${(schema.required || []).includes(name) && html`<abbr title="required">*</abbr>`}</dt>
    <dd><code>${typeWord(schema.properties[name])}</code>${schema.properties[name].default !== undefined && html` <span class="dim">default ${JSON.stringify(schema.properties[name].default)}</span>`}
      ${schema.properties[name].writeOnly && html` <span class="tag">secret</span>`} ${schema.properties[name].description}</dd></div>`)}</dl>`;
}

function Type({ type }) {
  return html`<article class=${`card type ${type.error ? 'is-bad' : ''}`} aria-label=${type.name}>
    <header><h2>${type.name}</h2>${type.version && html`<code title="version">${type.version.slice(0, 12)}</code>`}<span class="space"></span>
      ${type.parameters && html`<a class="button small needs-submit" href=${link('run', type.name)}>Run<span class="hidden"> ${type.name}</span></a>`}
      <a class="button small ghost" href=${link('tasks', null, { name: type.name })}>Tasks<span class="hidden"> of ${type.name}</span></a></header>
    ${type.summary && html`<p>${type.summary}</p>`}
    ${type.error && html`<pre class="bad" role="alert">${type.error}</pre>`}
    ${type.parameters && html`<p class="dim">${[type.file, type.queue && `queue ${type.queue}`, `priority ${type.priority}`, type.timeout === null ? 'no timeout' : `timeout ${duration(type.timeout)}`,
      type.retries && type.retries.max > 0 ? `${plural(type.retries.max, 'retry', 'retries')}, ${type.retries.backoff}` : 'no retries', type.isolate && 'a process of its own'].filter(Boolean).join(' · ')}</p>
      <p>${type.workers.length === 0 ? html`<b class="bad">no live worker carries it</b>` : html`<span class="dim">carried by</span> ${type.workers.map((name) => html`<span key=${name} class="tag">${name}</span> `)}`}</p>
      <details><summary>Parameters</summary><${Parameters} schema=${type.parameters} /></details>`}</article>`;
}

function Reloaded({ workers }) {
  return html`<div class="card" role="status"><h2>Reload</h2><ul class="plain">${workers.map(({ worker, answer }) => html`<li key=${worker}><b>${worker}</b> ${!answer ? html`<span class="bad">has not answered</span>`
    : answer.error ? html`<span class="bad pre">${answer.error}</span>` : ''}
    ${answer && html`<ul class="plain">${(answer.files || []).map((file) => html`<li key=${file.file}><code>${file.file}</code> <span class=${file.error ? 'bad' : 'dim'}>${file.outcome}</span>
      ${file.error && html`<pre class="bad">${file.error}</pre>`}</li>`)}</ul>`}</li>`)}</ul></div>`;
}

export function Catalogue() {
  const types = useData('/api/tasks/types'), [reloaded, setReloaded] = useState(null), [isBusy, setBusy] = useState(false);
  useTick(LOOK_MS, types.reload);
  const reload = async () => {
    setBusy(true);
    await attempt(() => order('/api/workers/reload'), (answer) => {
      setReloaded(answer.workers);
      return answer.workers.some((one) => !one.answer || one.answer.error || (one.answer.files || []).some((file) => file.error)) ? '' : 'All task files are loaded';
    });
    setBusy(false);
    types.reload();
  };
  return html`<section class="page"><header><h1>Catalogue</h1><button class="primary needs-admin" onClick=${reload} disabled=${isBusy}>${isBusy ? 'Loading …' : 'Reload the task files'}</button></header>
    <${Problem} error=${types.error} again=${types.reload} />
    ${reloaded && html`<${Reloaded} workers=${reloaded} />`}
    ${!types.data && !types.error && html`<${Skeleton} />`}
    ${types.data && types.data.length === 0 && html`<${Empty}>No worker has loaded a task yet.</${Empty}>`}
    <div class="types">${(types.data || []).map((type) => html`<${Type} key=${type.name} type=${type} />`)}</div></section>`;
}
