// pictures.js URL DIR ID: the pictures of docs/dashboard.md. The figures of the hour are invented: a new system has none.
'use strict';
const path = require('node:path');
const { chromium } = require('playwright-core');

const [url, folder, id] = process.argv.slice(2);
const MINUTES = 60;
const wave = (i, size, pace, noise) => Math.round(size * (1 + 0.3 * Math.sin(i / pace)) + (i * 37) % noise);
const points = Array.from({ length: MINUTES }, (_, i) => ({
  at: new Date(Date.now() - (MINUTES - i) * 60e3).toISOString(), submitted: wave(i, 400, 6, 60), succeeded: wave(i, 390, 6.2, 50), failed: i % 17 === 9 ? 9 : Number(i % 5 === 0),
  revoked: i % 23 === 5 ? 3 : 0, attempts_failed: (i * 7) % 5, run_p50: 0.2 + ((i * 5) % 9) / 60, run_p99: 1.1 + ((i * 7) % 13) / 20, waiting: Math.max(0, Math.round(90 * Math.sin(i / 9))),
}));
const PICTURES = [
  { name: 'overview', hash: '', height: 900 },
  { name: 'tasks', hash: 'tasks', height: 640 },
  { name: 'task', hash: `tasks/${id}`, height: 720, dark: true },
  { name: 'phone', hash: '', width: 390, height: 720, dark: true },
];

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
  for (const { name, hash, width = 1200, height, dark } of PICTURES) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
    await page.route('**/api/stats*', (route) => route.fulfill({ json: { step: 60, points } }));
    await page.goto(`${url}/#/${hash}`);
    await page.waitForSelector(hash.includes('/') ? '.log' : 'table');
    await page.waitForTimeout(500); // the bars have moved to their places
    await page.screenshot({ path: path.join(folder, `${name}.png`) });
    await page.close();
  }
  await browser.close();
}

main();
