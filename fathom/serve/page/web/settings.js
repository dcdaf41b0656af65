// The parameters of a conversation and their form. All are kept as the text that was entered; empty
// means that the server decides.

import {h} from '/page/dom.js';

const FIELDS = [
  {name: 'system', label: 'System prompt', kind: 'area', hint: 'Stands before the conversation.'},
  {
    name: 'thinking',
    label: 'Thinking',
    kind: 'choice',
    hint: 'Whether the model reasons before it replies.',
    choices: [
      ['', 'As the server does'],
      ['enabled', 'On'],
      ['disabled', 'Off'],
    ],
  },
  {
    name: 'effort',
    label: 'Effort of thinking',
    kind: 'choice',
    hint: 'How long it reasons, where the model has levels.',
    choices: [
      ['', 'As the server does'],
      ['low', 'Low'],
      ['medium', 'Medium'],
      ['high', 'High'],
      ['max', 'Max'],
    ],
  },
  {
    name: 'temperature',
    label: 'Temperature',
    kind: 'number',
    min: 0,
    max: 2,
    step: 'any',
    hint: '0 always takes the likeliest token; at most 2.',
  },
  {
    name: 'top_p',
    label: 'Top-p',
    kind: 'number',
    min: 0,
    max: 1,
    step: 'any',
    hint: 'Draws from the likeliest tokens that together have this probability.',
  },
  {
    name: 'max_tokens',
    label: 'Longest reply',
    kind: 'number',
    min: 1,
    step: 1,
    unit: 'tokens',
    hint: 'Reasoning included.',
  },
  {
    name: 'seed',
    label: 'Seed',
    kind: 'number',
    min: 0,
    step: 1,
    hint: 'The same seed and text give the same reply.',
  },
];

export const NO_SETTINGS = Object.fromEntries(FIELDS.map(({name}) => [name, '']));

// The fields of a request that say what was set.
export function requestFields(settings) {
  const fields = {};
  for (const {name, kind} of FIELDS) {
    if (kind === 'number' && settings[name]) {
      fields[name] = Number(settings[name]);
    }
  }
  if (settings.thinking) {
    fields.thinking = {type: settings.thinking};
  }
  if (settings.effort && settings.thinking !== 'disabled') {
    fields.reasoning_effort = settings.effort;
  }
  return fields;
}

function control(field, id) {
  const shared = {id, name: field.name, 'aria-describedby': `${id}-hint`};
  switch (field.kind) {
    case 'area':
      return h('textarea', {...shared, rows: 4});
    case 'choice':
      return h('select', shared, ...field.choices.map(([value, text]) => h('option', {value}, text)));
    default:
      return h('input', {
        ...shared,
        type: 'number',
        inputmode: 'decimal',
        min: field.min,
        max: field.max,
        step: field.step,
        placeholder: 'as the server does',
      });
  }
}

export class SettingsForm {
  // `onChange(settings)` gets the whole after each valid change.
  constructor(form, onChange) {
    this.form = form;
    this.controls = new Map();
    for (const field of FIELDS) {
      const id = `set-${field.name}`;
      const input = control(field, id);
      const hint = h('p', {id: `${id}-hint`, class: 'hint'}, field.hint);
      this.controls.set(field.name, input);
      form.append(
        h(
          'div',
          {class: 'field'},
          h('label', {for: id}, field.unit ? `${field.label} (${field.unit})` : field.label),
          input,
          hint,
        ),
      );
      input.addEventListener('input', () => {
        const isValid = input.checkValidity();
        input.toggleAttribute('aria-invalid', !isValid);
        hint.textContent = isValid ? field.hint : input.validationMessage;
        hint.classList.toggle('wrong', !isValid);
        if (isValid) {
          onChange(this.values());
        }
      });
    }
    form.addEventListener('submit', (event) => event.preventDefault());
  }

  values() {
    return Object.fromEntries(
      [...this.controls].map(([name, input]) => [name, input.checkValidity() ? input.value : '']),
    );
  }

  show(settings) {
    for (const [name, input] of this.controls) {
      input.value = settings[name] ?? '';
    }
  }
}
