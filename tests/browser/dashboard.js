// dashboard.js URL TASKS_DIR: drives every page of the dashboard in Chromium as an operator would. One line a
// step; the first that fails ends it. test_dashboard.py makes the system that it looks at.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');
const axe = require('axe-core');

const [url, tasksDir] = process.argv.slice(2);
const HOSTILE = `<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2">"'&${'w'.repeat(10000)}`;
const DESKTOP = { width: 1360, height: 860 }, PHONE = { width: 390, height: 844 };
const complaints = []; // of the content policy, and errors of our scripts

async function api(method, route, body) {
  const answer = await fetch(url + route, { method, headers: body ? { 'Content-Type': 'application/json' } : {}, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200, `${method} ${route}: ${answer.status}`);
  return answer.json();
}
const submit = async (task_name, parameters, more) => (await api('POST', '/api/tasks/submit', { task_name, parameters, ...more })).task_id;
const finish = async (id) => api('GET', `/api/tasks/${id}/result?timeout=60`);

async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.on('pageerror', (error) => complaints.push(error.stack));
  page.on('dialog', (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  page.on('console', (message) => /content security policy/i.test(message.text()) && complaints.push(message.text()));
  await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`)));
  return page;
}

const visit = async (page, hash, sign) => {
  await page.goto(`${url}/#/${hash}`);
  await page.waitForSelector(sign || 'main h1');
};
const status = (page, word) => page.waitForSelector(`.title .is-${word.toLowerCase()}`);
const press = (page, name, scope = 'body') => page.locator(scope).getByRole('button', { name, exact: true }).click();
const confirm = (page) => page.click('dialog button[type=submit]');

async function fits(page, what) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${what} is ${over} px too wide`);
  assert.equal(await page.evaluate(() => window.pwned), undefined, what);
}

async function looksWell(page, what) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter((one) => ['serious', 'critical'].includes(one.impact));
  assert.deepEqual(serious.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 200)).join(' | ')}`), [], `${what} is accessible`);
  await fits(page, what);
}

const steps = {
  async 'a task is run by its form, and its progress moves'({ page, shared }) {
    await visit(page, 'run');
    await page.click('a:has-text("steps")');
    await press(page, 'Run');
    await page.waitForSelector('.is-wrong :text("is required")'); // the label is missing
    await page.fill('#parameter-label', 'from the form');
    await page.fill('#parameter-pause', '0.2');
    await page.fill('#parameter-pin', 'secret-4711');
    await looksWell(page, 'the form');
    await press(page, 'Run');
    await page.waitForURL(/#\/tasks\/[0-9a-f-]{36}$/);
    shared.steps = page.url().slice(-36);
    const seen = new Set();
    await page.waitForSelector('.live.is-on'); // by events, not by asking
    await page.waitForSelector('[role=progressbar]');
    while (!(await page.$('.title .is-success'))) {
      const bar = await page.$('[role=progressbar]');
      if (bar) seen.add(await bar.getAttribute('aria-valuenow'));
      await page.waitForTimeout(50);
    }
    assert.ok(seen.size >= 5, `progress was seen at ${[...seen]}`);
    await page.waitForSelector('.log :text("step 10 of 10")');
    const text = await page.innerText('main');
    assert.match(text, /"from the form"/);
    assert.doesNotMatch(text, /4711/);
  },

  async 'what runs is cancelled, what was cancelled runs again'({ page }) {
    const id = await submit('hold', {});
    await visit(page, `tasks/${id}`);
    await status(page, 'STARTED');
    await press(page, 'Cancel', 'main header');
    await confirm(page);
    await status(page, 'REVOKED');
    await press(page, 'Retry');
    await status(page, 'STARTED');
    await press(page, 'Cancel', 'main header');
    await confirm(page);
    await status(page, 'REVOKED');
    assert.equal((await api('GET', `/api/tasks/${id}`)).attempt, 2);
  },

  async 'a failure is explained, and run again with changes'({ page }) {
    const id = await submit('moody', { mood: 'bad' }, { tags: ['weekly'] });
    await finish(id);
    await visit(page, `tasks/${id}`);
    await status(page, 'FAILURE');
    assert.match(await page.innerText('.columns .failure'), /exception.*the mood is bad/s);
    await page.click('.columns .failure summary');
    await page.waitForSelector('.failure pre:has-text("moody.lua")');
    await looksWell(page, 'a failed task');
    await page.click('a:text-is("Run again with changes")');
    await page.waitForSelector('#parameter-mood');
    assert.equal(await page.inputValue('#parameter-mood'), 'bad');
    assert.equal(await page.inputValue('#parameter-option-tags'), 'weekly');
    await page.fill('#parameter-mood', 'good');
    await press(page, 'Run');
    await status(page, 'SUCCESS');
  },

  async 'a list finds by status, text and tag, and its address is enough'({ page, shared }) {
    await visit(page, 'tasks', 'table.tasks');
    await page.fill('input[name=text]', 'FROM THE');
    await page.keyboard.press('Enter');
    await page.waitForURL(/text=FROM/);
    await page.waitForSelector('.pages:has-text("1 – 1 of 1")');
    await page.reload();
    await page.waitForSelector(`a[href="#/tasks/${shared.steps}"]`);
    await press(page, 'Clear', '.filters');
    await page.click('.segments button:has-text("FAILURE")');
    await page.waitForURL(/status=FAILURE/);
    await page.waitForSelector('.tasks tbody .status:not(.is-failure)', { state: 'detached' });
    await page.click('.sort');
    await page.waitForSelector('th[aria-sort=ascending]');
  },

  async 'five hundred are cancelled by their filter'({ page }) {
    await api('POST', '/api/tasks/submit/bulk', Array.from({ length: 500 }, (_, i) => ({ task_name: 'moody', parameters: { mood: `later ${i}` }, delay: 3600, tags: ['many'] })));
    await visit(page, 'tasks?tag=many&status=PENDING', '.pages:has-text("of 500")');
    await page.check('thead input[type=checkbox]');
    await page.click('button:has-text("Select all 500 that match")');
    await page.waitForSelector('.bulk:has-text("All 500 selected")');
    await looksWell(page, 'a list with a selection');
    await press(page, 'Cancel', '.bulk');
    await confirm(page);
    await page.waitForSelector('.sayings :text("500 tasks cancelled")');
    await page.waitForSelector('.empty');
    assert.equal((await api('GET', '/api/tasks?tag=many&status=REVOKED&limit=1')).total, 500);
    await visit(page, 'tasks?tag=many', '.pages:has-text("of 500")');
    await page.click('button:text-is("Older")');
    await page.waitForSelector('.pages:has-text("51 – 100 of 500")');
    await page.check('tbody tr:first-child input');
    await press(page, 'Delete', '.bulk');
    await confirm(page);
    await page.waitForSelector('.pages:has-text("of 499")');
  },

  async 'a queue is paused and goes on'({ page }) {
    await visit(page, 'overview', 'table');
    await press(page, 'Pause default');
    await confirm(page);
    await page.waitForSelector('tr.is-paused:has-text("default")');
    await page.waitForSelector('.warnings:has-text("default is paused")');
    assert.ok((await api('GET', '/api/queues')).queues.find((queue) => queue.name === 'default').paused);
    await press(page, 'Resume default');
    await page.waitForSelector('tr.is-paused', { state: 'detached' });
  },

  async 'an overview warns of queues that nobody serves'({ page }) {
    const id = await submit('moody', { mood: 'fine' }, { queue: 'nobody' });
    await visit(page, 'overview', '.warnings:has-text("No live worker serves the queue nobody")');
    await page.waitForSelector('figure.chart canvas >> nth=3');
    await press(page, 'Last day');
    await page.waitForSelector('button[aria-pressed=true]:text-is("Last day")');
    await page.waitForSelector('figure.chart canvas >> nth=3');
    await looksWell(page, 'the overview');
    await api('POST', `/api/tasks/${id}/cancel`);
    await page.waitForSelector('.warnings:has-text("nobody")', { state: 'detached' });
  },

  async 'a failed reload is shown with file and line'({ page }) {
    const file = path.join(tasksDir, 'broken.lua');
    fs.writeFileSync(file, 'return {\n  params = { x = "string" }\n  execute = 1\n}\n');
    await visit(page, 'catalogue', '.type');
    await press(page, 'Reload the task files');
    await page.waitForSelector('.type.is-bad pre:has-text("broken.lua:3")');
    await page.waitForSelector('.card pre:has-text("broken.lua:3")');
    await looksWell(page, 'the catalogue');
    fs.unlinkSync(file);
    await press(page, 'Reload the task files');
    await page.waitForSelector('.type.is-bad', { state: 'detached' });
    assert.ok((await page.innerText('.types')).includes('<script>'), 'a summary is text');
  },

  async 'hostile texts stay texts'({ page, browser }) {
    const good = await submit('echo', { text: HOSTILE, [HOSTILE.slice(0, 60)]: HOSTILE }, { tags: ['<b>tag</b>'], unique_key: HOSTILE.slice(0, 100) });
    const bad = await submit('echo', { text: HOSTILE, fails: true });
    await finish(good), await finish(bad);
    const phone = await open(browser, { viewport: PHONE });
    for (const one of [page, phone])
      for (const hash of [`tasks/${good}`, `tasks/${bad}`, `run/echo?from=${good}`, 'tasks', `tasks?text=${encodeURIComponent(HOSTILE.slice(0, 70))}`, 'run', `tasks?tag=${encodeURIComponent('"><img>')}`, 'catalogue']) {
        await visit(one, hash);
        await one.waitForSelector('.skeleton', { state: 'detached' });
        await fits(one, hash);
      }
    await visit(page, `tasks/${bad}`);
    await status(page, 'FAILURE');
    assert.ok((await page.innerText('main')).includes('<script>'));
    await looksWell(page, 'a hostile failure');
    await phone.context().close();
  },

  async 'what is wrong is said'({ page }) {
    await visit(page, 'tasks/01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34', '.problem:has-text("there is no task")');
    await visit(page, 'run/nothing', '.problem');
    await visit(page, 'nowhere', 'h1:has-text("no such page")');
    await visit(page, 'run/steps', '#parameter-label');
    await page.fill('#parameter-label', 'x');
    await page.fill('#parameter-pause', '99');
    await press(page, 'Run');
    await page.waitForSelector('.is-wrong #parameter-pause');
    await page.waitForSelector('form .problem');
  },

  async 'keys lead everywhere'({ page }) {
    await visit(page, 'overview');
    for (const [key, sign] of [['t', 'Tasks'], ['r', 'Run a task'], ['c', 'Catalogue'], ['o', 'Overview']]) {
      await page.keyboard.press('g');
      await page.keyboard.press(key);
      await page.waitForSelector(`h1:has-text("${sign}")`);
    }
    await page.keyboard.press('/');
    await page.waitForSelector('h1:has-text("Tasks")');
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'text');
    await page.keyboard.press('Tab');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('?');
    await page.waitForSelector('dialog[open] h2:text-is("Keys")');
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
  },

  async 'dark and light, on a phone, and what was chosen stays'({ browser }) {
    const page = await open(browser, { colorScheme: 'dark', viewport: PHONE });
    for (const hash of ['overview', 'tasks', 'catalogue', 'run/steps']) {
      await visit(page, hash);
      await page.waitForSelector('.skeleton', { state: 'detached' });
      await looksWell(page, `${hash} on a dark phone`);
    }
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
    await page.click('button[aria-label="light colours"]');
    await page.reload();
    await page.waitForSelector('button[aria-label="dark colours"]');
    assert.equal(await page.getAttribute('html', 'data-theme'), 'light');
    await page.context().close();
  },

  async 'without a stream of events it asks'({ browser }) {
    const page = await open(browser);
    await page.route('**/events', (route) => route.fulfill({ status: 404, json: { detail: 'nothing', code: 'not_found' } }));
    await visit(page, 'overview', '.live:has-text("polling")');
    await api('POST', '/api/queues/low_priority/pause');
    await page.waitForSelector('tr.is-paused:has-text("low_priority")');
    await api('POST', '/api/queues/low_priority/resume');
    await page.waitForSelector('tr.is-paused', { state: 'detached' });
    const id = await submit('moody', { mood: 'late' }, { delay: 3600 });
    await visit(page, `tasks/${id}`, '.live:has-text("polling")');
    await status(page, 'PENDING');
    await api('POST', `/api/tasks/${id}/cancel`);
    await page.waitForSelector('.title .is-revoked', { timeout: 8000 }); // this page asks for nothing else, and tries the stream again after 15 s
    await page.context().close();
  },

  async 'without scripts there are plain pages'({ browser }) {
    const page = await open(browser, { javaScriptEnabled: false });
    await page.goto(url);
    await page.waitForURL(`${url}/plain`);
    await page.click('nav a:text-is("Run a task")');
    await page.click('a:text-is("moody")');
    await page.fill('input[name=mood]', '<b>plain</b>');
    await page.click('button:text-is("Run")');
    await page.waitForURL(/\/plain\/tasks\//);
    await finish(page.url().slice(-36));
    await page.reload();
    await page.waitForSelector('dd:text-is("SUCCESS")');
    assert.equal(await page.$('pre b'), null);
    await page.context().close();
  },

  // The last one: once there is a token, nobody is let in without.
  async 'who may little is offered little, an administrator makes and revokes tokens'({ page }) {
    await visit(page, 'tokens', '.empty');
    await page.fill('.fields input', 'viewer');
    await press(page, 'Create');
    const reader = await page.innerText('.is-good code');
    const { token: admin } = await (await fetch(`${url}/api/tokens`, { method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${reader}` }, body: '{"name":"no","scope":"admin"}' })).json();
    assert.equal(admin, undefined, 'a reader makes no tokens');
    await visit(page, 'audit', '.login');
    await looksWell(page, 'the login');
    const login = async (token) => {
      await press(page, 'With a token');
      await page.fill('.login input', token);
      await press(page, 'Sign in');
    };
    await login('ctr_wrong');
    await page.waitForSelector('.login .problem');
    await page.fill('.login input', reader);
    await press(page, 'Sign in');
    await page.waitForSelector('.problem:has-text("scope admin")');
    await visit(page, 'overview', 'table');
    assert.equal(await page.locator('.needs-admin:visible, .needs-submit:visible').count(), 0);
    await page.click('button[aria-label="sign out"]');
    await page.waitForSelector('.login');
    await page.fill('.login input >> nth=0', process.env.DASHBOARD_USER);
    await page.fill('.login input[type=password]', process.env.DASHBOARD_PASSWORD);
    await press(page, 'Sign in');
    await visit(page, 'tokens', 'tr:has-text("viewer")');
    await looksWell(page, 'the tokens');
    await press(page, 'Revoke viewer');
    await confirm(page);
    await page.waitForSelector('tr:has-text("viewer") .is-bad:has-text("revoked")');
    await visit(page, 'audit', 'tr:has-text("token revoke")');
    await page.waitForSelector('tr:has-text("pause"):has-text("default")');
    await looksWell(page, 'the audit');
  },
};

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const shared = {}, page = await open(browser);
  try {
    for (const [name, step] of Object.entries(steps)) {
      const began = Date.now();
      try {
        await step({ page, browser, shared });
        assert.deepEqual(complaints, []);
      } catch (error) {
        console.log(`FAILED: ${name} (at ${page.url()})\n${error.stack}\n${complaints.join('\n')}`);
        console.log(await page.innerText('body').catch(() => ''));
        process.exitCode = 1;
        return;
      }
      console.log(`ok: ${name} (${Date.now() - began} ms)`);
    }
  } finally {
    await browser.close();
  }
}

main();
