// One reply in the making: asks the server, and writes what comes into the message.

import {chat} from '/page/api.js';
import {messagesUpTo} from '/page/conversation.js';
import {requestFields} from '/page/settings.js';

const NOTES = {
  length: 'The reply was cut: it reached the limit of tokens.',
  content_filter: 'The server withheld the rest of this reply.',
  insufficient_system_resource: 'The server ran out of resources and ended this reply.',
};

function addToolCalls(message, deltas) {
  message.toolCalls ??= [];
  for (const delta of deltas) {
    const call = (message.toolCalls[delta.index ?? message.toolCalls.length] ??= {name: '', arguments: ''});
    call.name += delta.function?.name ?? '';
    call.arguments += delta.function?.arguments ?? '';
  }
}

function usageOf(usage) {
  return {
    prompt: usage.prompt_tokens ?? 0,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    reply: usage.completion_tokens ?? 0,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
  };
}

export class ReplyRun {
  #abort = new AbortController();
  #start_ms = 0;

  // `message`: of the assistant, in the conversation; where it has text already, that is gone on with.
  // `onChange()` is called for every piece. Figures are those of this run.
  constructor(conversation, message, onChange) {
    this.conversation = conversation;
    this.message = message;
    this.onChange = onChange;
    this.isContinuation = message.content !== '' || message.reasoning !== '';
    Object.assign(message, {
      state: 'running',
      pieces: {reasoning: 0, content: 0},
      note: '',
      error: '',
      first_ms: undefined,
      latest_ms: undefined,
      usage: undefined,
    });
  }

  stop() {
    this.#abort.abort();
  }

  // Ends when the reply does. What went wrong is kept with the message and given back; null is well.
  async run() {
    const {message} = this;
    this.#start_ms = performance.now();
    let error = null;
    try {
      for await (const chunk of chat(this.#body(), this.#abort.signal)) {
        this.#take(chunk);
        this.onChange();
      }
      message.state = 'done';
    } catch (caught) {
      if (caught.name === 'AbortError') {
        message.state = 'stopped';
        message.note = 'Stopped.';
      } else {
        error = caught;
        message.state = 'failed';
        message.error = caught.message;
        message.retryAfter_s = caught.retryAfter_s ?? null;
      }
    }
    message.total_ms = performance.now() - this.#start_ms;
    this.onChange();
    return error;
  }

  #body() {
    const {conversation, message} = this;
    const messages = messagesUpTo(conversation, message.parent);
    if (this.isContinuation) {
      messages.push({
        role: 'assistant',
        content: message.content,
        prefix: true,
        ...(message.reasoning && {reasoning_content: message.reasoning}),
      });
    }
    return {model: message.model, messages, ...requestFields(conversation.settings)};
  }

  #take(chunk) {
    const {message} = this;
    if (chunk.usage) {
      message.usage = usageOf(chunk.usage);
    }
    const choice = chunk.choices?.[0];
    if (!choice) {
      return;
    }
    const {content, reasoning_content, tool_calls} = choice.delta ?? {};
    if (content || reasoning_content || tool_calls) {
      message.first_ms ??= performance.now() - this.#start_ms;
      message.latest_ms = performance.now() - this.#start_ms;
    }
    if (reasoning_content) {
      message.reasoning += reasoning_content;
      message.pieces.reasoning += 1;
    }
    if (content) {
      message.reasoning_ms ??= message.reasoning ? message.latest_ms - message.first_ms : undefined;
      message.content += content;
      message.pieces.content += 1;
    }
    if (tool_calls) {
      addToolCalls(message, tool_calls);
    }
    if (choice.finish_reason) {
      message.note = NOTES[choice.finish_reason] ?? '';
    }
  }
}

// Tokens after the first, per second; null while there is nothing to tell. While the reply is
// written, pieces stand for tokens.
export function tokensPerSecond(message) {
  const num_tokens =
    message.usage?.reply || (message.pieces ? message.pieces.reasoning + message.pieces.content : 0);
  const seconds = (message.latest_ms - message.first_ms) / 1000;
  return num_tokens > 1 && seconds > 0 ? (num_tokens - 1) / seconds : null;
}
