// Whether the server still has a session. Where nothing has come of it for a second it is asked, as ICE takes five to notice, and
// no ICE finds a session again that a new process has never had.

const LOOK_MS = 250;
const SILENT_MS = 1000;
const MOST_MS = 4000; // between questions where the server says that all is well: a puppet at rest sends nothing new
const ASK_MS = 1000;
const GONE = [401, 403, 404, 410]; // what else a proxy may say in its place tells nothing
const all = new Set(); // of this page: where one session is gone the others are asked for at once

export class Watchdog {
  // link: what has a location; progress: a number, or a promise of one, that changes while something comes; suspicious: whether
  // silence means anything now; ongone: called once, when the server says that it has no such session.
  constructor(link, progress, suspicious, ongone) {
    Object.assign(this, { link, progress, suspicious, ongone, seen: null, wait: SILENT_MS, heard: performance.now() });
    this.timer = setInterval(() => this.look(), LOOK_MS);
    all.add(this);
  }

  end() {
    clearInterval(this.timer);
    all.delete(this);
    this.ended = true;
  }

  async look() {
    if (this.looking) return;
    this.looking = true;
    const seen = await this.progress();
    if (seen !== this.seen || !this.suspicious()) Object.assign(this, { seen, wait: SILENT_MS, heard: performance.now() });
    else if (performance.now() - this.heard >= this.wait) await this.ask();
    this.looking = false;
  }

  // No answer says nothing, as there may be no network: it is asked again at once.
  async ask() {
    const { location } = this.link;
    const question = { method: "HEAD", headers: this.link.headers, signal: AbortSignal.timeout(ASK_MS), cache: "no-store" };
    const reply = location && (await fetch(location, question).catch(() => null));
    if (this.ended || !reply) return;
    if (GONE.includes(reply.status)) {
      this.end();
      this.ongone();
      for (const other of all) other.ask();
    } else if (reply.ok) {
      Object.assign(this, { wait: Math.min(2 * this.wait, MOST_MS), heard: performance.now() });
    }
  }
}
