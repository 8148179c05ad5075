// words.js: how numbers, times and durations are written.
const MINUTE = 60, HOUR = 3600, DAY = 86400;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '';
  const s = Math.abs(seconds);
  if (s < 0.001) return s === 0 ? '0 s' : '< 1 ms';
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < MINUTE) return `${Math.floor(s)} s`;
  const two = (large, small, unit, rest) => `${Math.floor(s / large)} ${unit}${Math.floor((s % large) / small) ? ` ${Math.floor((s % large) / small)} ${rest}` : ''}`;
  if (s < HOUR) return two(MINUTE, 1, 'm', 's');
  return s < DAY ? two(HOUR, MINUTE, 'h', 'm') : two(DAY, HOUR, 'd', 'h');
}

export function ago(text, now = Date.now()) {
  if (!text) return '';
  const s = (now - Date.parse(text)) / 1000;
  const word = Math.abs(s) < 1 ? 'now' : Math.abs(s) < MINUTE ? `${Math.floor(Math.abs(s))} s` : duration(s).replace(/ \d+ [smh]$/, '');
  return word === 'now' ? 'just now' : s > 0 ? `${word} ago` : `in ${word}`;
}

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
export const moment = (text) => (text ? full.format(new Date(text)) : '');
export const clock = (text) => {
  const at = new Date(text), two = (n) => String(n).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
};

const whole = new Intl.NumberFormat();
export const number = (n) => (n === null || n === undefined ? '–' : whole.format(n));
// Short enough for a tile or an axis.
export function short(n) {
  if (n === null || n === undefined) return '–';
  const size = Math.abs(n);
  if (size >= 1e6) return `${(n / 1e6).toFixed(size < 1e7 ? 1 : 0)} M`;
  if (size >= 1e4) return `${(n / 1e3).toFixed(size < 1e5 ? 1 : 0)} k`;
  return Number.isInteger(n) ? whole.format(n) : n.toFixed(size < 10 ? 1 : 0);
}

export function bytes(n) {
  if (!n) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(Math.floor(Math.log2(n) / 10), 4);
  return `${(n / 1024 ** power).toFixed(power > 1 && n / 1024 ** power < 10 ? 1 : 0)} ${units[power]}`;
}

export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;
