// api.js: requests to the public API, and what happens as it happens.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export class ApiError extends Error {
  constructor(status, body) {
    super(body.detail || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code;
    this.errors = body.errors || [];
  }
}

// JSON in and out; anything but a 2xx throws an ApiError. status 0: nobody answers.
export async function api(path, { method = 'GET', body, signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, cache: 'no-store', credentials: 'same-origin',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, { detail: 'The server does not answer.' });
  }
  const text = await answer.text();
  let json = {};
  try {
    json = text ? JSON.parse(text) : {};
  } catch {
    throw new ApiError(answer.status, { detail: 'The server did not answer in JSON.' });
  }
  if (!answer.ok) {
    if (answer.status === 401 && path !== '/login') window.dispatchEvent(new Event('needs-login'));
    throw new ApiError(answer.status, json);
  }
  return json;
}

export const post = (path, body = {}) => api(path, { method: 'POST', body });
// The routes of one task and of queues take no body.
export const order = (path, method = 'POST') => api(path, { method });

// {data, error, reload}: what a GET answers. A later answer replaces it, an error leaves it. path null: nothing is asked.
export function useData(path) {
  const [state, setState] = useState({ path, data: null, error: null });
  const flight = useRef(null);
  const reload = useCallback(async () => {
    if (!path) return;
    if (flight.current) flight.current.abort();
    const own = new AbortController();
    flight.current = own;
    try {
      const data = await api(path, { signal: own.signal });
      setState({ path, data, error: null });
    } catch (error) {
      if (error.name !== 'AbortError') setState((was) => ({ path, data: was.path === path ? was.data : null, error }));
    }
    if (flight.current === own) flight.current = null;
  }, [path]);
  useEffect(() => {
    reload();
    return () => flight.current && flight.current.abort();
  }, [reload]);
  return { data: state.data, isOld: state.path !== path, error: state.error, reload };
}

/* ---- events ---- */

const KINDS = ['status', 'progress', 'log'];
const POLL_MS = 2000, AGAIN_MS = 15000;
const feeds = new Map();

// One stream for all that listen to a path. While it fails, its listeners hear {event: 'poll'} every two seconds.
class Feed {
  constructor(path) {
    Object.assign(this, { path, listeners: new Set(), source: null, poll: 0, again: 0, worry: 0 });
    this.onSeen = () => (document.hidden ? this.close() : this.open(true));
  }

  tell(event) {
    for (const listener of [...this.listeners]) listener(event);
  }

  // A hidden page holds no connection: a browser has but six for a host.
  open(missed) {
    clearTimeout(this.again);
    if (this.source) this.source.close();
    this.source = new EventSource(this.path);
    if (missed) this.tell({ event: 'poll' });
    this.source.onopen = () => {
      this.calm();
      this.state(true);
    };
    // A stream that only broke off comes back by itself in a second; that of a task ends with it.
    this.source.onerror = () => {
      const isOver = this.source.readyState === EventSource.CLOSED;
      if (!this.worry && !this.poll) this.worry = setTimeout(() => this.ask(), isOver ? 0 : POLL_MS);
      if (isOver) this.again = setTimeout(() => this.open(true), AGAIN_MS);
    };
    for (const kind of KINDS)
      this.source.addEventListener(kind, (message) => {
        try {
          this.tell({ event: kind, ...JSON.parse(message.data) });
        } catch { /* a line that is no JSON says nothing */ }
      });
  }

  ask() {
    this.worry = 0;
    this.state(false);
    this.tell({ event: 'poll' });
    this.poll = setInterval(() => this.tell({ event: 'poll' }), POLL_MS);
  }

  calm() {
    clearTimeout(this.worry);
    clearInterval(this.poll);
    this.worry = this.poll = 0;
  }

  // null: nothing is listened to.
  state(isOpen) {
    window.dispatchEvent(new CustomEvent('feed', { detail: isOpen }));
  }

  close() {
    this.calm();
    clearTimeout(this.again);
    if (this.source) this.source.close();
    this.source = null;
    this.state(null);
  }

  add(listener) {
    if (this.listeners.size === 0) {
      document.addEventListener('visibilitychange', this.onSeen);
      if (!document.hidden) this.open(false);
    }
    this.listeners.add(listener);
  }

  remove(listener) {
    this.listeners.delete(listener);
    if (this.listeners.size > 0) return;
    document.removeEventListener('visibilitychange', this.onSeen);
    this.close();
    feeds.delete(this.path);
  }
}

// listener: also {event: 'poll'}: something may have been missed. path null: none.
export function useEvents(path, listener) {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    if (!path) return undefined;
    if (!feeds.has(path)) feeds.set(path, new Feed(path));
    const feed = feeds.get(path), hear = (event) => latest.current(event);
    feed.add(hear);
    return () => feed.remove(hear);
  }, [path]);
}

// Calls back at once, then at most every ms, and once more for what came meanwhile. What takes long is asked for less often.
const REST = 4;

export function useThrottle(call, ms) {
  const latest = useRef(call), state = useRef({ timer: 0, isBusy: false, isWanted: false, isGone: false });
  latest.current = call;
  useEffect(() => () => {
    state.current.isGone = true;
    clearTimeout(state.current.timer);
  }, []);
  return useCallback(() => {
    const own = state.current;
    const run = async () => {
      const began = Date.now();
      own.isBusy = true;
      own.isWanted = false;
      await latest.current();
      if (own.isGone) return;
      own.timer = setTimeout(() => {
        own.isBusy = false;
        if (own.isWanted) run();
      }, Math.max(ms, REST * (Date.now() - began)));
    };
    if (own.isBusy) own.isWanted = true;
    else run();
  }, [ms]);
}

export function useTick(ms, call) {
  const [, setTick] = useState(0);
  const latest = useRef(call);
  latest.current = call;
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.hidden) return;
      if (latest.current) latest.current();
      else setTick((n) => n + 1);
    }, ms);
    return () => clearInterval(timer);
  }, [ms]);
}
