// admin.js: tokens, and who did what. For those with the scope; the pages are there when their routes are.
import { useState } from 'preact/hooks';
import { order, post, useData } from './api.js';
import { link } from './route.js';
import { attempt, Confirm, Copy, Empty, html, Problem, Skeleton, Time } from './ui.js';

// With the first token the door is shut to those without one: nothing may be asked before it is read.
function NewToken({ add }) {
  const [fields, setFields] = useState({ scope: 'read' }), [made, setMade] = useState(null);
  const set = (name) => (event) => setFields({ ...fields, [name]: event.target.value });
  const create = async (event) => {
    event.preventDefault();
    const body = Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
    await attempt(async () => {
      const token = await post('/api/tokens', body);
      setMade(token);
      add(token);
    }, 'The token is made');
  };
  return html`<form class="card" onSubmit=${create}><h2>New token</h2>
    ${made && html`<p class="problem is-good" role="status"><span>Shown this once: <code class="break">${made.token}</code></span> <${Copy} text=${made.token || ''} what="copy the token" /></p>`}
    <div class="fields"><label class="field"><span>Name</span><input value=${fields.name || ''} onInput=${set('name')} autocomplete="off" /></label>
      <label class="field"><span>Scope</span><select value=${fields.scope} onChange=${set('scope')}>${['read', 'submit', 'admin'].map((one) => html`<option key=${one}>${one}</option>`)}</select></label>
      <label class="field"><span>Tasks</span><input value=${fields.tasks || ''} onInput=${set('tasks')} placeholder="all, or report.*" autocomplete="off" /></label>
      <label class="field"><span>Expires</span><input value=${fields.expires || ''} onInput=${set('expires')} placeholder="never, or 30d" autocomplete="off" /></label>
      <button class="primary" type="submit">Create</button></div></form>`;
}

export function Tokens() {
  const tokens = useData('/api/tokens'), [question, ask] = useState(null), [added, setAdded] = useState([]);
  const known = tokens.data ? tokens.data.tokens : [];
  const list = [...added.filter((token) => !known.some((one) => one.id === token.id)), ...known];
  const revoke = (token) => ask({ title: 'Revoke this token?', word: 'Revoke', isBad: true, text: `Whoever uses ${token.name || token.id} is refused from now on.`,
    go: () => attempt(() => order(`/api/tokens/${encodeURIComponent(token.id)}`, 'DELETE'), 'Revoked').then(tokens.reload) });
  return html`<section class="page"><header><h1>Tokens</h1></header>
    <${Problem} error=${tokens.error} again=${tokens.reload} />${!tokens.data && !tokens.error && html`<${Skeleton} />`}
    ${tokens.data && html`<${NewToken} add=${(token) => setAdded([token, ...added])} />
      <div class="card flush">${list.length === 0 ? html`<${Empty}>There is no token.</${Empty}>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Tokens"><table>
        <thead><tr><th>Name</th><th>Scope</th><th>Tasks</th><th>Made</th><th>Expires</th><th>Last used</th><th><span class="hidden">Revoke</span></th></tr></thead>
        <tbody>${list.map((token) => html`<tr key=${token.id}><td class="text"><b>${token.name || token.id}</b>${token.session && html` <small class="dim">session of ${token.created_by}</small>`}</td>
          <td><span class="tag">${token.scope}</span></td><td>${token.tasks || 'all'}${token.own && html` <small class="dim">own alone</small>`}</td>
          <td><${Time} at=${token.created_at} /></td><td>${token.expires_at ? html`<${Time} at=${token.expires_at} />` : 'never'}</td><td>${token.last_used_at ? html`<${Time} at=${token.last_used_at} />` : 'never'}</td>
          <td class="n">${token.state !== 'active' ? html`<span class="tag is-bad">${token.state}</span>` : html`<button class="small danger" onClick=${() => revoke(token)}>Revoke<span class="hidden"> ${token.name || token.id}</span></button>`}</td></tr>`)}</tbody></table></div>`}</div>`}
    <${Confirm} ask=${question} onClose=${() => ask(null)} /></section>`;
}

const PAGE = 100;

export function Audit() {
  const [offset, setOffset] = useState(0), audit = useData(`/api/audit?limit=${PAGE}&offset=${offset}`);
  const list = audit.data ? audit.data.operations : [];
  return html`<section class="page"><header><h1>Audit</h1></header>
    <${Problem} error=${audit.error} again=${audit.reload} />${!audit.data && !audit.error && html`<${Skeleton} />`}
    ${audit.data && html`<div class="card flush">${list.length === 0 ? html`<${Empty}>Nobody has done anything yet.</${Empty}>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Audit"><table>
      <thead><tr><th>When</th><th>Who</th><th>Did</th><th>To</th><th>Before</th><th>After</th></tr></thead>
      <tbody>${list.map((entry) => html`<tr key=${entry.id}><td><${Time} at=${entry.at} /></td><td class="text">${entry.actor}</td><td><b>${entry.operation}</b></td>
        <td class="text">${entry.name} ${isTask(entry.target) ? html`<a href=${link('tasks', entry.target)}><code>…${entry.target.slice(-8)}</code></a>` : entry.target !== entry.name && html`<code class="break">${entry.target}</code>`}</td>
        <td>${entry.before}</td><td>${entry.after}</td></tr>`)}</tbody></table></div>`}
      <nav class="pages" aria-label="Pages"><button class="small" disabled=${offset === 0} onClick=${() => setOffset(Math.max(0, offset - PAGE))}>Newer</button>
        <button class="small" disabled=${!audit.data.has_more} onClick=${() => setOffset(offset + PAGE)}>Older</button></nav></div>`}</section>`;
}

const isTask = (target) => /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(target || '');
