// form.js: a form out of a JSON Schema. What a field holds is text; only sending makes values of it, and only what was
// given is sent: defaults are the task's own business.
import { html } from './ui.js';

export const MASK = '********';

// How a parameter is asked for.
function kind(schema) {
  if (schema.const !== undefined) return 'enum';
  if (Array.isArray(schema.enum)) return 'enum';
  if (schema.type === 'integer' || schema.type === 'number') return 'number';
  if (schema.type === 'boolean') return 'boolean';
  if (schema.type === 'string') return 'string';
  return 'json';
}

const choices = (schema) => (schema.const !== undefined ? [schema.const] : schema.enum);
// Those first that must be given.
export const namesOf = (schema) => Object.keys(schema.properties || {}).sort((a, b) => isRequired(schema, b) - isRequired(schema, a));
export const isRequired = (schema, name) => (schema.required || []).includes(name);

// The text that stands for a value in its field.
export function textOf(schema, value) {
  if (value === undefined || (schema.writeOnly && value === MASK)) return '';
  return kind(schema) === 'string' && typeof value === 'string' ? value : JSON.stringify(value, null, typeof value === 'object' ? 2 : 0);
}

// {value} or {problem}; {} when nothing was given.
export function valueOf(schema, text) {
  if (text === undefined || text === '') return {};
  const what = kind(schema);
  if (what === 'string') return { value: text };
  if (what === 'number') {
    const value = Number(text);
    return Number.isFinite(value) ? { value } : { problem: 'must be a number' };
  }
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { problem: 'must be JSON' };
  }
}

// {parameters, problems by name}
export function collect(schema, texts) {
  const parameters = {}, problems = {};
  for (const [name, one] of Object.entries(schema.properties || {})) {
    const { value, problem } = valueOf(one, texts[name]);
    if (problem) problems[name] = problem;
    else if (value !== undefined) parameters[name] = value;
    else if (isRequired(schema, name)) {
      // An empty text is a text, where nothing forbids it.
      if (kind(one) === 'string' && !one.minLength && !one.writeOnly && !one.pattern && !one.format) parameters[name] = '';
      else problems[name] = 'is required';
    }
  }
  return { parameters, problems };
}

function limits(schema) {
  const words = [];
  const low = schema.minimum ?? schema.exclusiveMinimum, high = schema.maximum ?? schema.exclusiveMaximum;
  if (schema.minimum !== undefined && schema.maximum !== undefined) words.push(`${low} to ${high}`);
  else {
    if (low !== undefined) words.push(`${schema.minimum === undefined ? 'more than' : 'at least'} ${low}`);
    if (high !== undefined) words.push(`${schema.maximum === undefined ? 'less than' : 'at most'} ${high}`);
  }
  if (schema.multipleOf) words.push(`in steps of ${schema.multipleOf}`);
  if (schema.minLength > 1) words.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength) words.push(`at most ${schema.maxLength} characters`);
  if (schema.pattern) words.push(`like ${schema.pattern}`);
  if (schema.format) words.push(schema.format);
  if (schema.items && schema.items.type) words.push(`a list of ${schema.items.type}`);
  return words.join(', ');
}

function Input({ id, name, schema, required, text, set, describe, isWrong }) {
  const shared = { id, name, required, 'aria-describedby': describe, 'aria-invalid': isWrong ? 'true' : undefined, onInput: (event) => set(event.target.value) };
  const hint = schema.default !== undefined ? textOf({ ...schema, writeOnly: false }, schema.default) : '';
  switch (kind(schema)) {
    case 'enum':
      return html`<select ...${shared} value=${text}>
        ${!required && html`<option value="">${hint ? `default: ${hint}` : 'not given'}</option>`}${required && html`<option value="" disabled>choose …</option>`}
        ${choices(schema).map((value) => html`<option key=${JSON.stringify(value)} value=${JSON.stringify(value)}>${typeof value === 'string' ? value : JSON.stringify(value)}</option>`)}</select>`;
    case 'boolean':
      return html`<select ...${shared} value=${text}><option value="">${hint ? `default: ${hint}` : required ? 'choose …' : 'not given'}</option>
        <option value="true">true</option><option value="false">false</option></select>`;
    case 'number':
      return html`<input ...${shared} type="number" step=${schema.type === 'integer' ? 1 : 'any'} min=${schema.minimum} max=${schema.maximum} value=${text} placeholder=${hint} />`;
    case 'string':
      if (schema.writeOnly) return html`<input ...${shared} type="password" autocomplete="new-password" value=${text} />`;
      return text.length > 80 || text.includes('\n') || (schema.maxLength || 0) > 500
        ? html`<textarea ...${shared} rows="6" value=${text} placeholder=${hint} spellcheck="false"></textarea>`
        : html`<input ...${shared} type="text" value=${text} placeholder=${hint} autocomplete="off" spellcheck="false" list=${schema.examples ? `${id}-examples` : undefined} />`;
    default:
      return html`<textarea ...${shared} class="code" rows="4" value=${text} placeholder=${hint || (schema.type === 'array' ? '[ ]' : schema.type === 'object' ? '{ }' : 'JSON')} spellcheck="false"></textarea>`;
  }
}

export function Field({ name, schema, required, text, set, problem }) {
  const id = `parameter-${name}`, notes = [Array.isArray(schema.type) ? schema.type.join(' or ') : schema.type, limits(schema)].filter(Boolean).join(', ');
  return html`<div class=${`field ${problem ? 'is-wrong' : ''}`}>
    <label for=${id}>${schema.title || name}${required ? html`<abbr title="required">*</abbr>` : ''}${schema.writeOnly ? html` <span class="tag">secret</span>` : ''}
      <small class="dim">${notes}</small></label>
    <${Input} id=${id} name=${name} schema=${schema} required=${required} text=${text} set=${set} describe=${`${id}-note`} isWrong=${Boolean(problem)} />
    ${schema.examples && kind(schema) === 'string' && html`<datalist id=${`${id}-examples`}>${schema.examples.map((one) => html`<option key=${one} value=${String(one)} />`)}</datalist>`}
    <small id=${`${id}-note`} class=${problem ? 'bad' : 'dim'}>${problem || schema.description || ''}</small></div>`;
}
