// The stream's state, and commands to it. Commands go by the data channel of the picture's connection where there is
// one, else by REST. What was asked for is shown at once; what the server answers is what stays.

import { authorized, withToken } from "./rtc.js";

const NO_TOKEN = "This server asks for a token. Open the page by the link that its owner gave you; it ends in #token=…";
const FORBIDDEN = "The token in this page's address does not allow that. Ask the server's owner for another link.";
const UNKNOWN = "The server does not know the token in this page's address. Ask its owner for another link.";
const ANEW = "Scan a new code: “Phone as camera” on the server's own page shows it.";
const DELETED = "This portrait has been deleted meanwhile.";
const CHANGED = `This link no longer works: the server's token was changed. ${ANEW}`;
const ENDED = `This link has expired. ${ANEW}`;
export const name = new URLSearchParams(location.search).get("stream") || "live";
export const api = `/api/streams/${encodeURIComponent(name)}`;

export async function call(method, path, body) {
  const form = body instanceof FormData;
  const headers = authorized(body && !form ? { "Content-Type": "application/json" } : {});
  const reply = await fetch(path, { method, headers, body: form ? body : body && JSON.stringify(body) });
  const data = await reply.json().catch(() => ({}));
  if (!reply.ok) {
    const problem = failure(data.detail || `the server answered ${reply.status}`, data.code);
    throw Object.assign(problem, { goes: data.goes, status: reply.status });
  }
  return data;
}

export const failure = (text, code) => Object.assign(new Error(text), { code });

// A problem as one line; `fetch` tells by a TypeError that nobody answers.
export function words(problem) {
  if (problem instanceof TypeError) return "The server does not answer.";
  return { Unauthorized: NO_TOKEN, UnknownToken: UNKNOWN, Forbidden: FORBIDDEN, UnknownPortrait: DELETED }[problem.code] ?? problem.message;
}

// Why this page may not even watch, in words; "" where it is for another reason. A link for a while says itself what it is for, and
// when it ends: link.RIGHT.STREAM.SECONDS.SIGNATURE
export function refusal(problem) {
  const [, stream, until] = authorized().Authorization?.match(/^Bearer link\.\w+\.([\w-]+)\.(\d+)\./) ?? [];
  if (problem.code === "Unauthorized") return NO_TOKEN;
  if (problem.code === "UnknownToken") return !stream ? UNKNOWN : Date.now() > until * 1000 ? ENDED : CHANGED;
  if (problem.code === "Forbidden") return stream ? `This link is for the stream “${stream}”, and this address asks for “${name}”.` : FORBIDDEN;
  if (problem.code === "UnknownStream") return `There is no stream “${name}” here yet${problem.message.replace(/^no stream '[^']*'/, "")}.`;
  return "";
}

export class Control {
  constructor(onchange) {
    this.state = null;
    this.onchange = onchange;
    this.channel = null;
    this.removed = false; // the stream, by its owner
    this.seen = false; // whether there ever was a state
    this.lacks = () => ""; // why this page may not, in words: see rights.js
    this.refused = ""; // why, in words; each further try would count against this address
    this.sent = 0;
    this.waiting = new Map(); // number of a command -> what takes its answer
    this.wanted = new Map(); // what was set and is not yet answered: key -> [value, number]
    this.listen();
  }

  // The puppet's settings as they are, or will be in a moment.
  get puppet() {
    const wanted = [...this.wanted].map(([key, [value]]) => [key, value]);
    return this.state && { ...this.state.puppet, ...Object.fromEntries(wanted) };
  }

  listen() {
    const events = new EventSource(withToken("/api/events"));
    const take = (event) => {
      const state = JSON.parse(event.data);
      if (state.name === name) this.take(state);
    };
    events.addEventListener("gone", (event) => {
      if (JSON.parse(event.data).name !== name) return;
      [this.state, this.removed] = [null, true];
      this.onchange();
    });
    // Its worker has died, and no other has it yet.
    events.addEventListener("away", (event) => {
      if (JSON.parse(event.data).name !== name) return;
      this.state = null;
      this.onchange();
    });
    events.addEventListener("state", take);
    events.addEventListener("telemetry", take);
    events.addEventListener("error", () => {
      this.state = null;
      this.onchange();
      if (this.refused) events.close();
      else if (events.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), 2000);
    });
  }

  take(state) {
    this.removed = false;
    this.seen = true;
    if (!(state.serial < this.state?.serial)) this.state = state; // events and answers overtake each other
    this.onchange();
  }

  use(channel) {
    this.channel = channel;
    channel.addEventListener("message", (event) => {
      const answer = JSON.parse(event.data);
      this.waiting.get(answer.id)?.(answer);
      this.waiting.delete(answer.id);
    });
  }

  // Show what is set from now on, until the command with it is answered; no event overwrites it.
  want(change) {
    const number = ++this.sent;
    for (const key of Object.keys(change)) this.wanted.set(key, [change[key], number]);
    this.onchange();
    return number;
  }

  // Do a command; the state after it.
  async send(change) {
    const why = this.lacks("control");
    if (why) throw new Error(why);
    const number = this.want(change);
    try {
      const answered = this.channel?.readyState === "open" && (await this.byChannel(number, change));
      const state = answered || (await call("PATCH", api, change));
      this.settle(change, number);
      this.take(state);
      return state;
    } finally {
      this.settle(change, number);
    }
  }

  settle(change, number) {
    for (const key of Object.keys(change)) if (this.wanted.get(key)?.[1] === number) this.wanted.delete(key);
  }

  // The state, or null where no answer comes: a viewer who may not control gets none.
  byChannel(number, change) {
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => resolve(null), change.engine || change.portrait ? 60000 : 3000);
      this.waiting.set(number, (answer) => {
        clearTimeout(patience);
        if (answer.error) reject(failure(answer.error, answer.code));
        else resolve(answer.state);
      });
      this.channel.send(JSON.stringify({ id: number, change }));
    });
  }
}
