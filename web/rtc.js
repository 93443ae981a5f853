// WHIP (RFC 9725) and WHEP: one POST with the offer, the answer comes back, DELETE ends the session, PATCH restarts ICE.

import { Watchdog } from "./watchdog.js";

const GOODBYE_MS = 3000; // a server that is gone has nothing to say
const RESTART_MS = 6000; // for a connection to come back after an ICE restart
const AGAIN_MS = 500;
const FRAGMENT = "application/trickle-ice-sdpfrag";
const ICE = /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)\b/;

// A server that wants a token gets the one in the page's address: …/#token=TOKEN or …/?token=TOKEN
const given = (part, key = "token") => new URLSearchParams(part.slice(1)).get(key);
const token = given(location.hash) || given(location.search);
// For portraits that only who has their pass may drive: …/#pass=PASS
const pass = given(location.hash, "pass");
const withPass = (url) => (pass ? `${url}${url.includes("?") ? "&" : "?"}pass=${encodeURIComponent(pass)}` : url);

export const authorized = (headers = {}) => (token ? { ...headers, Authorization: `Bearer ${token}` } : headers);
// Of a page of ours: what follows # is sent to no server, and stands in no log.
export const linked = (page) => (token ? `${page}#token=${encodeURIComponent(token)}` : page);
export const withToken = (url) => (token ? `${url}${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}` : url);

// TURN and STUN servers that the server names (RFC 9725 §4.6). Where nobody answers no offer need be made.
async function iceServers(url) {
  const reply = await fetch(url, { headers: authorized() });
  return [...(reply.headers.get("Link") || "").matchAll(/<([^>]+)>;([^<]*)/g)]
    .filter(([, , rest]) => rest.includes("ice-server"))
    .map(([, urls, rest]) => ({
      urls,
      username: rest.match(/username="([^"]*)"/)?.[1],
      credential: rest.match(/credential="([^"]*)"/)?.[1],
    }));
}

async function negotiate(pc, url) {
  await pc.setLocalDescription(await pc.createOffer());
  await gathered(pc);
  const reply = await fetch(url, {
    method: "POST",
    headers: authorized({ "Content-Type": "application/sdp" }),
    body: pc.localDescription.sdp,
  });
  if (reply.status !== 201) {
    const { detail, code } = await reply.json().catch(() => ({}));
    throw Object.assign(new Error(detail || `the server answered ${reply.status}`), { code });
  }
  await pc.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  return new URL(reply.headers.get("Location"), reply.url).href; // it may have been redirected
}

// A description's ICE alone, as PATCH takes it (RFC 8840 §9): that of the section which a BUNDLE group begins with.
function fragmentOf(sdp) {
  const [session, section] = sdp.split(/^(?=m=)/m);
  const lines = `${session}${section}`.split("\r\n");
  return lines.filter((line) => ICE.test(line) || /^(a=group:BUNDLE|a=ice-options|m=|a=mid:)/.test(line)).join("\r\n") + "\r\n";
}

// An answer with the ICE of a fragment instead of its own.
function renewed(answer, fragment) {
  const ice = fragment.split("\r\n").filter((line) => ICE.test(line)).join("\r\n") + "\r\n";
  const [session, ...sections] = answer.split("\r\n").filter((line) => !ICE.test(line)).join("\r\n").split(/^(?=m=)/m);
  return session + sections.map((section) => section + ice).join("");
}

// As `negotiate`, for a session that there is.
async function renegotiate(pc, location) {
  const answer = pc.remoteDescription.sdp;
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
  await gathered(pc);
  const reply = await fetch(location, {
    method: "PATCH",
    headers: authorized({ "Content-Type": FRAGMENT, "If-Match": "*" }),
    body: fragmentOf(pc.localDescription.sdp),
    signal: AbortSignal.timeout(RESTART_MS),
  });
  if (reply.status !== 200) throw new Error(`the server answered ${reply.status}`);
  await pc.setRemoteDescription({ type: "answer", sdp: renewed(answer, await reply.text()) });
}

function connected(pc) {
  return new Promise((resolve, reject) => {
    const look = () => pc.connectionState === "connected" && resolve();
    pc.addEventListener("connectionstatechange", look);
    setTimeout(reject, RESTART_MS, new Error("the connection did not come back"));
    look();
  });
}

function gathered(pc) {
  return new Promise((resolve) => {
    // At a restart the state is the one before at first, the description never.
    const look = () => pc.iceGatheringState === "complete" && pc.localDescription.sdp.includes("\na=candidate:") && resolve();
    pc.addEventListener("icegatheringstatechange", look);
    setTimeout(resolve, 1500); // a slow interface must not hold up the rest
    look();
  });
}

// Connections that have ended, by the video that shows the last picture of each: it turns black when its connection is closed.
const held = new Map();

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

// A peer connection with its session. One that is lost restarts ICE; onlost is called when that is of no use, with the server's
// code for what has become of the session, where it has one: a promise.
class Link {
  constructor(onlost, servers) {
    this.pc = new RTCPeerConnection({ iceServers: servers });
    this.location = null;
    this.onlost = onlost;
    this.pc.addEventListener("connectionstatechange", () => {
      if (["failed", "closed", "disconnected"].includes(this.pc.connectionState)) this.mend();
    });
  }

  async mend() {
    if (this.ended || this.mending) return;
    this.mending = true;
    await this.restart(performance.now() + RESTART_MS).catch(() => this.ended || this.onlost(this.end()));
    this.mending = false;
  }

  async restart(until) {
    try {
      await renegotiate(this.pc, this.location);
    } catch (problem) {
      if (this.ended || problem.name !== "TypeError" || performance.now() > until) throw problem;
      await pause(AGAIN_MS); // no network yet
      return this.restart(until);
    }
    return connected(this.pc);
  }

  async open(url) {
    try {
      this.location = await negotiate(this.pc, url);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  // Ask the server what has become of the session as soon as `progress` stands still.
  watch(progress, suspicious) {
    this.headers = authorized();
    this.watchdog = new Watchdog(this, progress, suspicious, () => this.ended || this.onlost(this.end()));
  }

  // Bytes that the other side has sent, if only reports: what a camera hears of the server.
  async heard() {
    const pairs = [...(await this.pc.getStats()).values()].filter(({ type }) => type === "candidate-pair");
    return pairs.reduce((sum, { bytesReceived = 0 }) => sum + bytesReceived, 0);
  }

  end() {
    this.ended = true;
    this.watchdog?.end();
    if (this.shown && this.video.srcObject === this.shown) held.set(this.video, this.pc);
    else this.pc.close();
    const goodbye = { method: "DELETE", headers: authorized(), keepalive: true, signal: AbortSignal.timeout(GOODBYE_MS) };
    const said = this.location && fetch(this.location, goodbye).then((reply) => reply.json());
    this.location = null;
    return Promise.resolve(said).then((data) => data?.code, () => undefined);
  }
}

export async function publish(url, stream, onlost, query = "") {
  const link = new Link(onlost, await iceServers(url));
  for (const track of [...stream.getVideoTracks(), ...stream.getAudioTracks()]) {
    link.pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  }
  await link.open(withPass(url + query));
  link.watch(() => link.heard(), () => true);
  return link;
}

// suspicious: whether silence means anything now, for one who knows more of the stream.
export async function watch(url, video, onlost, suspicious = () => true) {
  const link = new Link(onlost, await iceServers(url));
  const transceiver = link.pc.addTransceiver("video", { direction: "recvonly" });
  if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
  link.pc.addTransceiver("audio", { direction: "recvonly" });
  link.channel = link.pc.createDataChannel("control");
  const shown = new MediaStream();
  Object.assign(link, { video, shown });
  link.pc.addEventListener("track", (event) => {
    shown.addTrack(event.track);
    if (video.srcObject === shown) return;
    video.srcObject = shown;
    held.get(video)?.close();
    held.delete(video);
  });
  await link.open(url);
  link.watch(() => video.getVideoPlaybackQuality().totalVideoFrames, suspicious);
  return link;
}
