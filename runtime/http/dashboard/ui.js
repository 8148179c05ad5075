// ui.js: the pieces that pages are made of. Text of users only ever becomes a text node.
import { Fragment, h } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import htm from 'htm';
import { useTick } from './api.js';
import { ago, moment, number } from './words.js';

export const html = htm.bind(h);

export const STATUSES = ['PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED'];
export const isFinal = (status) => ['SUCCESS', 'FAILURE', 'REVOKED'].includes(status);

const PATHS = {
  overview: 'M3 12h4l3-8 4 16 3-8h4', tasks: 'M4 6h16M4 12h16M4 18h10', run: 'M7 4l12 8-12 8z', catalogue: 'M5 4h11l3 3v13H5zM9 9h6M9 13h6M9 17h3',
  tokens: 'M14 10a4 4 0 1 0-3 3.9L13 16h2v2h2v2h3v-3z', audit: 'M12 8v4l3 2M12 3a9 9 0 1 0 9 9', theme: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  leave: 'M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9', copy: 'M9 9h10v11H9zM5 15V4h10', search: 'M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM16 16l4 4', warn: 'M12 4l9 16H3zM12 10v4M12 17v.5',
};
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

export const Status = ({ of, note }) => html`<span class=${`status is-${of.toLowerCase()}`}><i aria-hidden="true"></i>${note || of}</span>`;

// A time that ages while one looks at it.
export function Time({ at }) {
  useTick(at && Math.abs(Date.now() - Date.parse(at)) > 3600e3 ? 60e3 : 1000);
  return at ? html`<time datetime=${at} title=${moment(at)}>${ago(at)}</time>` : html`<span class="dim">–</span>`;
}

export function Progress({ of, label }) {
  const percent = of && of.percentage !== null ? Math.max(0, Math.min(100, of.percentage)) : null;
  if (percent === null) return null;
  return html`<span class="progress" role="progressbar" aria-label=${label || 'progress'} aria-valuemin="0" aria-valuemax="100"
      aria-valuenow=${Math.round(percent)}>
    <span class="track"><span style=${{ width: `${percent}%` }}></span></span><b>${Math.round(percent)} %</b></span>`;
}

export const Problem = ({ error, again }) =>
  error && html`<p class="problem" role="alert"><${Icon} name="warn" /><span>${error.message}</span>
    ${again && html`<button class="small" onClick=${again}>Try again</button>`}</p>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

export const Skeleton = ({ lines = 4 }) => html`<div class="skeleton" aria-hidden="true">${Array.from({ length: lines }, (_, i) => html`<i key=${i}></i>`)}</div>`;

export function Copy({ text, what = 'copy' }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'function' ? text() : text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch { say('The browser does not let pages copy.', true); }
  };
  return html`<button class="ghost small" title=${what} aria-label=${what} onClick=${copy}>${done ? '✓' : html`<${Icon} name="copy" />`}</button>`;
}

/* ---- what is said in passing ---- */
let hear = () => {};
export const say = (text, isBad = false) => hear({ text, isBad, key: Math.random() });

export function Sayings() {
  const [list, setList] = useState([]);
  hear = (saying) => {
    setList((was) => [...was.slice(-3), saying]);
    setTimeout(() => setList((was) => was.filter((one) => one.key !== saying.key)), saying.isBad ? 9000 : 5000);
  };
  return html`<div class="sayings" role="status" aria-live="polite">
    ${list.map((one) => html`<p key=${one.key} class=${one.isBad ? 'is-bad' : ''}>${one.text}</p>`)}</div>`;
}

// Does it, says what came of it. Gives true when it was done.
export async function attempt(work, saying) {
  try {
    const answer = await work();
    const text = typeof saying === 'function' ? saying(answer) : saying;
    if (text) say(text);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

/* ---- a question before what cannot be taken back ---- */
export function Confirm({ ask, onClose }) {
  const dialog = useRef(null), [isBusy, setBusy] = useState(false);
  useEffect(() => {
    if (ask && dialog.current && !dialog.current.open) dialog.current.showModal();
  }, [ask]);
  if (!ask) return null;
  const go = async (event) => {
    event.preventDefault();
    setBusy(true);
    await ask.go();
    setBusy(false);
    onClose();
  };
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="confirm-title">
    <form onSubmit=${go}>
      <h2 id="confirm-title">${ask.title}</h2>
      <p>${ask.text}</p>
      <div class="row end">
        <button type="button" class="ghost" onClick=${onClose}>Leave it</button>
        <button type="submit" class=${ask.isBad ? 'danger' : 'primary'} disabled=${isBusy} autofocus>${isBusy ? 'Working …' : ask.word}</button>
      </div>
    </form></dialog>`;
}

/* ---- JSON as a tree ---- */
const OPEN_ITEMS = 30, LONG = 400;

// A long text begins; the rest comes when it is asked for.
export function Text({ value }) {
  const [isWhole, setWhole] = useState(false);
  if (isWhole || value.length <= LONG + 50) return value;
  return html`<${Fragment}>${value.slice(0, LONG)}<button class="link" onClick=${() => setWhole(true)}>… ${number(value.length - LONG)} more</button></${Fragment}>`;
}

function Leaf({ value }) {
  if (typeof value === 'string') return html`<span class="j-text">"<${Text} value=${value} />"</span>`;
  return html`<span class=${value === null ? 'j-null' : `j-${typeof value}`}>${String(value)}</span>`;
}

function Node({ name, value, depth }) {
  const isTree = value !== null && typeof value === 'object';
  const keys = isTree ? Object.keys(value) : [];
  const [isOpen, setOpen] = useState(depth < 2 && keys.length <= OPEN_ITEMS), [most, setMost] = useState(200);
  const label = name !== undefined && html`<span class="j-key">${name}</span>`;
  if (!isTree || keys.length === 0)
    return html`<li>${label}${isTree ? html`<span class="j-null">${Array.isArray(value) ? '[]' : '{}'}</span>` : html`<${Leaf} value=${value} />`}</li>`;
  return html`<li><button class="j-fold" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
      <i aria-hidden="true"></i>${label}<span class="dim">${Array.isArray(value) ? `[${keys.length}]` : `{${keys.length}}`}</span></button>
    ${isOpen && html`<ul>${keys.slice(0, most).map((key) => html`<${Node} key=${key} name=${key} value=${value[key]} depth=${depth + 1} />`)}
      ${keys.length > most && html`<li><button class="link" onClick=${() => setMost(most + 1000)}>${keys.length - most} more</button></li>`}</ul>`}</li>`;
}

export const Json = ({ value }) => html`<ul class="json"><${Node} value=${value} depth=${0} /></ul>`;
