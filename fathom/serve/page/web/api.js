// What the page asks of its server.

import {events} from '/page/event_stream.js';

// Whatever keeps an answer from coming, in words for a person.
export class ServerError extends Error {
  constructor(message, {status = 0, retryAfter_s = null} = {}) {
    super(message);
    this.status = status; // of HTTP; 0: there was no answer
    this.retryAfter_s = retryAfter_s;
  }
  get isUnreachable() {
    return this.status === 0;
  }
  get needsKey() {
    return this.status === 401;
  }
}

const KEY = 'fathom.key';

// Kept with the tab, and in the browser only if asked.
export function setKey(key, isKept) {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  if (key) {
    (isKept ? localStorage : sessionStorage).setItem(KEY, key);
  }
}

function storedKey() {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

const OPENINGS = {
  400: 'The server refuses this request',
  401: 'The server asks for an API key',
  403: 'The API key does not allow this',
  404: 'The server does not know this',
  408: 'The request took too long',
  413: 'The request is larger than the server takes',
  429: 'The server is busy',
  500: 'The server made an error',
  502: 'The server behind the proxy cannot be reached',
  503: 'The server is not ready, or going down',
  504: 'The server behind the proxy did not answer in time',
};

async function errorOf(response) {
  let detail = '';
  try {
    const body = JSON.parse(await response.text());
    detail = body.error?.message ?? '';
  } catch {
    // Not ours: a proxy's page, say. The status has to do.
  }
  const seconds = Number(response.headers.get('Retry-After'));
  const opening = OPENINGS[response.status] ?? `The server answered with status ${response.status}`;
  return new ServerError(typeof detail === 'string' && detail ? `${opening}: ${detail}` : `${opening}.`, {
    status: response.status,
    retryAfter_s: seconds > 0 ? seconds : null,
  });
}

async function request(path, options = {}) {
  const key = storedKey();
  const headers = {...options.headers, ...(key && {Authorization: `Bearer ${key}`})};
  let response;
  try {
    response = await fetch(path, {...options, headers, cache: 'no-store'});
  } catch (error) {
    if (error.name === 'AbortError') {
      throw error;
    }
    throw new ServerError('The server cannot be reached. Is `fathom serve` running?');
  }
  if (!response.ok) {
    throw await errorOf(response);
  }
  return response;
}

export async function models() {
  const answer = await (await request('/v1/models')).json();
  return answer.data.map((model) => model.id);
}

export async function metricsText(signal) {
  return (await request('/metrics', {signal})).text();
}

// The chunks of a streamed chat completion, as they come. Throws ServerError, also for an error
// within the stream and for one that ends before it is complete.
export async function* chat(body, signal) {
  const response = await request('/v1/chat/completions', {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}}),
    signal,
  });
  let isComplete = false;
  try {
    for await (const data of events(response)) {
      if (data === '[DONE]') {
        return;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) {
        throw new ServerError(`The server stopped: ${chunk.error.message ?? 'it did not say why'}`, {
          status: 500,
        });
      }
      isComplete ||= chunk.choices?.some((choice) => choice.finish_reason);
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ServerError) {
      throw error;
    }
    if (error instanceof SyntaxError) {
      throw new ServerError('The server sent what is no JSON.', {status: 500});
    }
  }
  if (!isComplete) {
    throw new ServerError('The connection broke before the reply was complete.');
  }
}
