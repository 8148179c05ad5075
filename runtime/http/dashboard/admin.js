// admin.js: tokens, and who did what. For those with the scope; the pages are there when their routes are.
import { useState } from 'preact/hooks';
import { order, post, useData } from './api.js';
import { attempt, Confirm, Copy, Empty, html, Json, Problem, Skeleton, Time } from './ui.js';

const listOf = (data, key) => (Array.isArray(data) ? data : data[key] || []);

function NewToken({ reload }) {
  const [fields, setFields] = useState({ scope: 'read' }), [made, setMade] = useState(null);
  const set = (name) => (event) => setFields({ ...fields, [name]: event.target.value });
  const create = async (event) => {
    event.preventDefault();
    const body = Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
    if (await attempt(async () => setMade(await post('/api/tokens', body)), 'The token is made')) reload();
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
  const tokens = useData('/api/tokens'), [question, ask] = useState(null);
  const list = tokens.data ? listOf(tokens.data, 'tokens') : [];
  const revoke = (token) => ask({ title: 'Revoke this token?', word: 'Revoke', isBad: true, text: `Whoever uses ${token.name || token.id} is refused from now on.`,
    go: () => attempt(() => order(`/api/tokens/${encodeURIComponent(token.id)}`, 'DELETE'), 'Revoked').then(tokens.reload) });
  return html`<section class="page"><header><h1>Tokens</h1></header>
    <${Problem} error=${tokens.error} again=${tokens.reload} />${!tokens.data && !tokens.error && html`<${Skeleton} />`}
    ${tokens.data && html`<${NewToken} reload=${tokens.reload} />
      <div class="card flush">${list.length === 0 ? html`<${Empty}>There is no token.</${Empty}>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Tokens"><table>
        <thead><tr><th>Name</th><th>Scope</th><th>Tasks</th><th>Made</th><th>Expires</th><th>Last used</th><th><span class="hidden">Revoke</span></th></tr></thead>
        <tbody>${list.map((token) => html`<tr key=${token.id}><td class="text"><b>${token.name || token.id}</b></td><td><span class="tag">${token.scope}</span></td><td>${token.tasks || 'all'}</td>
          <td><${Time} at=${token.created_at} /></td><td>${token.expires_at ? html`<${Time} at=${token.expires_at} />` : 'never'}</td><td>${token.last_used_at ? html`<${Time} at=${token.last_used_at} />` : 'never'}</td>
          <td class="n">${token.revoked_at ? html`<span class="tag is-bad">revoked</span>` : html`<button class="small danger" onClick=${() => revoke(token)}>Revoke<span class="hidden"> ${token.name || token.id}</span></button>`}</td></tr>`)}</tbody></table></div>`}</div>`}
    <${Confirm} ask=${question} onClose=${() => ask(null)} /></section>`;
}

const SHOWN = ['id', 'seq', 'at', 'actor', 'action', 'verb', 'target', 'object'];

export function Audit() {
  const audit = useData('/api/audit');
  const list = audit.data ? listOf(audit.data, 'audit').concat(listOf(audit.data, 'entries')) : [];
  const entries = Array.isArray(audit.data) ? audit.data : list;
  const rest = (entry) => Object.fromEntries(Object.entries(entry).filter(([key, value]) => !SHOWN.includes(key) && value !== null));
  return html`<section class="page"><header><h1>Audit</h1></header>
    <${Problem} error=${audit.error} again=${audit.reload} />${!audit.data && !audit.error && html`<${Skeleton} />`}
    ${audit.data && html`<div class="card flush">${entries.length === 0 ? html`<${Empty}>Nobody has done anything yet.</${Empty}>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Audit"><table>
      <thead><tr><th>When</th><th>Who</th><th>Did</th><th>To</th><th>Before and after</th></tr></thead>
      <tbody>${entries.map((entry, i) => html`<tr key=${entry.id || entry.seq || i}><td><${Time} at=${entry.at} /></td><td class="text">${entry.actor}</td><td><b>${entry.action || entry.verb}</b></td>
        <td class="text"><code class="break">${String(entry.target || entry.object || '')}</code></td><td><${Json} value=${rest(entry)} /></td></tr>`)}</tbody></table></div>`}</div>`}</section>`;
}
