// main.js: the frame around the pages.
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { api, order, post } from './api.js';
import { Audit, Tokens } from './admin.js';
import { Catalogue } from './catalogue.js';
import { Overview } from './overview.js';
import { go, link, useRoute } from './route.js';
import { Run } from './run.js';
import { Task } from './task.js';
import { Tasks } from './tasks.js';
import { html, Icon, Problem, Sayings } from './ui.js';

const PAGES = [['overview', 'Overview', 'o'], ['tasks', 'Tasks', 't'], ['run', 'Run', 'r'], ['catalogue', 'Catalogue', 'c'], ['tokens', 'Tokens', 'k'], ['audit', 'Audit', 'a']];
const NEEDS = { run: 'needs-submit', tokens: 'needs-admin', audit: 'needs-admin' };

/* ---- light and dark: as the system, until it is chosen here ---- */
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const chosen = () => {
  try {
    return localStorage.getItem('theme');
  } catch {
    return null;
  }
};

function useTheme() {
  const [theme, setTheme] = useState(chosen), [isSystemDark, setSystemDark] = useState(dark.matches);
  const isDark = theme ? theme === 'dark' : isSystemDark;
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light';
  useEffect(() => {
    const changed = () => setSystemDark(dark.matches);
    dark.addEventListener('change', changed);
    return () => dark.removeEventListener('change', changed);
  }, []);
  const toggle = () => {
    const next = isDark ? 'light' : 'dark';
    try {
      localStorage.setItem('theme', next);
    } catch { /* then only until the page is loaded anew */ }
    setTheme(next);
  };
  return { isDark, toggle };
}

/* ---- keys: g and a letter goes to a page, / into the filter, n runs a task, ? shows this ---- */
function useKeys(showHelp) {
  useEffect(() => {
    let before = '';
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog')) return;
      const page = before === 'g' && PAGES.find(([, , key]) => key === event.key);
      const find = event.key === '/' && document.querySelector('.find');
      before = event.key;
      if (page) go(page[0]);
      else if (find) find.focus();
      else if (event.key === '/') go('tasks');
      else if (event.key === 'n') go('run');
      else if (event.key === '?') showHelp(true);
      else return;
      event.preventDefault();
    };
    document.addEventListener('keydown', pressed);
    return () => document.removeEventListener('keydown', pressed);
  }, []);
}

const Help = ({ close }) => html`<dialog ref=${(dialog) => dialog && !dialog.open && dialog.showModal()} onClose=${close} aria-labelledby="help-title"><h2 id="help-title">Keys</h2>
  <dl class="facts keys">${PAGES.map(([, name, key]) => html`<div key=${key}><dt><kbd>g</kbd> <kbd>${key}</kbd></dt><dd>${name}</dd></div>`)}
    <div><dt><kbd>/</kbd></dt><dd>Find</dd></div><div><dt><kbd>n</kbd></dt><dd>Run a task</dd></div><div><dt><kbd>?</kbd></dt><dd>These keys</dd></div></dl>
  <form method="dialog" class="row end"><button autofocus>Close</button></form></dialog>`;

function Live() {
  const [isOpen, setOpen] = useState(null);
  useEffect(() => {
    const heard = (event) => setOpen(event.detail);
    window.addEventListener('feed', heard);
    return () => window.removeEventListener('feed', heard);
  }, []);
  return isOpen !== null && html`<span class=${`live ${isOpen ? 'is-on' : ''}`} title=${isOpen ? 'What happens is shown at once' : 'No stream of events: looks every two seconds'}><i aria-hidden="true"></i>${isOpen ? 'live' : 'polling'}</span>`;
}

/* ---- who are you? ---- */
function Login({ done }) {
  const [fields, setFields] = useState({ user: '', password: '', token: '' }), [error, setError] = useState(null), [withToken, setWithToken] = useState(false);
  const set = (name) => (event) => setFields({ ...fields, [name]: event.target.value });
  const send = async (event) => {
    event.preventDefault();
    try {
      await post('/login', withToken ? { token: fields.token.trim() } : { user: fields.user, password: fields.password });
      done();
    } catch (failed) {
      setError(failed);
    }
  };
  return html`<main class="login" id="main"><form class="card" onSubmit=${send}>
    <h1><img src="/assets/icon.svg" alt="" width="28" height="28" /> ctutor-run</h1>
    <${Problem} error=${error} />
    ${withToken ? html`<label class="field"><span>Token</span><input type="password" autocomplete="off" value=${fields.token} onInput=${set('token')} required autofocus /></label>`
      : html`<label class="field"><span>User</span><input autocomplete="username" value=${fields.user} onInput=${set('user')} required autofocus /></label>
        <label class="field"><span>Password</span><input type="password" autocomplete="current-password" value=${fields.password} onInput=${set('password')} required /></label>`}
    <button class="primary" type="submit">Sign in</button>
    <button class="link" type="button" onClick=${() => setWithToken(!withToken)}>${withToken ? 'With a password' : 'With a token'}</button></form></main>`;
}

// {actor, scope, session}; null: not yet known. What somebody may not do is not offered (style.css); the server decides.
function useSession(visit) {
  const [session, setSession] = useState(null);
  useEffect(() => {
    api('/api/session').then(setSession, (error) => error.status !== 401 && setSession({ scope: 'admin' }));
  }, [visit]);
  document.documentElement.dataset.scope = session ? session.scope : '';
  return session;
}

function Page({ route, isDark }) {
  switch (route.page) {
    case 'tasks': return route.word ? html`<${Task} key=${route.word} id=${route.word} />` : html`<${Tasks} query=${route.query} />`;
    case 'run': return html`<${Run} name=${route.word} query=${route.query} />`;
    case 'catalogue': return html`<${Catalogue} />`;
    case 'tokens': return html`<${Tokens} />`;
    case 'audit': return html`<${Audit} />`;
    case 'overview': return html`<${Overview} isDark=${isDark} />`;
    default: return html`<section class="page"><header><h1>There is no such page</h1></header><p><a href="#/">To the overview</a></p></section>`;
  }
}

function App() {
  const route = useRoute(), { isDark, toggle } = useTheme(), [isStranger, setStranger] = useState(false), [isHelp, setHelp] = useState(false), [visit, setVisit] = useState(0);
  const session = useSession(visit);
  const isMoved = useRef(false);
  useKeys(setHelp);
  useEffect(() => {
    const stop = () => setStranger(true);
    window.addEventListener('needs-login', stop);
    return () => window.removeEventListener('needs-login', stop);
  }, []);
  useEffect(() => {
    const page = PAGES.find(([key]) => key === route.page);
    document.title = `${route.word || (page ? page[1] : 'Not found')} · ctutor-run`;
    window.scrollTo(0, 0);
    if (isMoved.current) document.getElementById('main').focus({ preventScroll: true }); // whoever listens to the page hears the new one
    isMoved.current = true;
  }, [route.page, route.word]);
  if (isStranger) return html`<${Login} done=${() => { setStranger(false); setVisit(visit + 1); }} />`;
  const leave = () => order('/logout').then(() => setStranger(true), () => setStranger(true));
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById('main').focus(); }}>To the content</a>
    <header class="frame"><a class="brand" href=${link('overview')}><img src="/assets/icon.svg" alt="" width="24" height="24" /><b>ctutor-run</b></a>
      <nav aria-label="Pages">${PAGES.map(([key, name]) =>
        html`<a key=${key} class=${NEEDS[key]} href=${link(key)} aria-current=${route.page === key ? 'page' : undefined}><${Icon} name=${key} />${name}</a>`)}</nav>
      <div class="foot"><${Live} /><button class="ghost small" onClick=${toggle} aria-label=${isDark ? 'light colours' : 'dark colours'} title=${isDark ? 'light colours' : 'dark colours'}><${Icon} name="theme" /></button>
        <button class="ghost small keys" onClick=${() => setHelp(true)} aria-label="keys" title="keys">?</button>
        ${session && session.session && html`<button class="ghost small" onClick=${leave} aria-label="sign out" title=${`sign out ${session.actor}`}><${Icon} name="leave" /></button>`}</div></header>
    <main id="main" tabindex="-1" key=${visit}><${Page} route=${route} isDark=${isDark} /></main>
    ${isHelp && html`<${Help} close=${() => setHelp(false)} />`}<${Sayings} />`;
}

render(html`<${App} />`, document.getElementById('app'));
