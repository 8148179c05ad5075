// charts.js: the figures of the last hour or day. uPlot sets styles through the CSSOM, which the page's policy allows.
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { html } from './ui.js';
import { clock, duration, short } from './words.js';

const HEIGHT = 150;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function options(series, write, width, over) {
  const axis = { stroke: () => colour('dim'), grid: { stroke: () => colour('line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  return {
    width, height: HEIGHT, legend: { show: false }, padding: [8, 8, 0, 0],
    cursor: { y: false, points: { size: 6 }, sync: { key: 'overview' }, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, min, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [
      { ...axis, space: 70, values: (_, ticks) => ticks.map((at) => clock(at * 1000).slice(0, 5)), grid: { show: false }, size: 24, gap: 2 },
      { ...axis, size: 52, space: 32, values: (_, ticks) => ticks.map(write) },
    ],
    series: [{}, ...series.map((one) => ({
      stroke: () => colour(one.colour), width: 1.75, points: { show: false }, spanGaps: false,
      fill: one.isFilled ? () => `${colour(one.colour)}22` : undefined,
    }))],
    hooks: { setCursor: [(plot) => over(plot.cursor.idx)] },
  };
}

function Chart({ title, series, write = short, points, isDark }) {
  const box = useRef(null), plot = useRef(null), [at, setAt] = useState(null);
  const data = [points.map((point) => Date.parse(point.at) / 1000), ...series.map((one) => points.map((point) => point[one.key] ?? null))];
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const element = box.current, width = () => Math.max(200, element.clientWidth);
    const own = new uPlot(options(series, write, width(), (i) => setAt(i ?? null)), latest.current, element);
    const sized = new ResizeObserver(() => own.setSize({ width: width(), height: HEIGHT }));
    plot.current = own;
    sized.observe(element);
    return () => {
      sized.disconnect();
      own.destroy();
    };
  }, [isDark]);
  useEffect(() => plot.current.setData(data), [points]);
  const shown = points[at ?? points.length - 1];
  return html`<figure class="card chart">
    <figcaption><b>${title}</b>${series.map((one) => html`<span key=${one.key}><i style=${{ background: `var(--${one.colour})` }}></i>${one.name} ${' '}
      <em>${shown && shown[one.key] !== null && shown[one.key] !== undefined ? write(shown[one.key]) : '–'}</em></span>`)}
      <time>${shown ? clock(shown.at).slice(0, 5) : ''}</time></figcaption>
    <div ref=${box} role="img" aria-label=${`${title}: ${series.map((one) => `${one.name} ${shown ? write(shown[one.key] ?? 0) : 'unknown'}`).join(', ')}`}></div>
  </figure>`;
}

const CHARTS = [
  { title: 'Throughput', series: [{ key: 'submitted', name: 'submitted', colour: 'pending' }, { key: 'succeeded', name: 'succeeded', colour: 'success', isFilled: true }] },
  { title: 'Failures', series: [{ key: 'failed', name: 'failed', colour: 'failure', isFilled: true }, { key: 'attempts_failed', name: 'attempts', colour: 'retry' },
    { key: 'revoked', name: 'revoked', colour: 'revoked' }] },
  { title: 'Run time', write: duration, series: [{ key: 'run_p50', name: 'half within', colour: 'accent', isFilled: true }, { key: 'run_p99', name: '99 % within', colour: 'retry' }] },
  { title: 'Waiting', series: [{ key: 'waiting', name: 'tasks', colour: 'pending', isFilled: true }] },
];

export const Charts = ({ stats, isDark }) =>
  html`<div class="charts">${CHARTS.map((one) => html`<${Chart} key=${one.title} ...${one} points=${stats.points} isDark=${isDark} />`)}</div>`;
