// Publishes by WHIP as OBS does, with its WebRTC stack (libdatachannel): obs.mjs SERVER COUNT ACCESS_UNITS...
//
// COUNT sessions, one after the other, each with silence until its pictures have arrived. ACCESS_UNITS: H.264, before each its
// length (4 bytes, big-endian); several are the layers of a simulcast, all of which are sent, whatever the answer says.
// Prints JSON: how many sessions went live, and why the others failed.
import { readFileSync } from "node:fs";
import {
  Audio, H264RtpPacketizer, PeerConnection, RtcpNackResponder, RtcpSrReporter, RtpPacketizationConfig, Video, initLogger,
} from "node-datachannel";

const [server, count, ...paths] = process.argv.slice(2);
const [H264, OPUS, SSRC, CLOCK, FPS, LIMIT_MS, FRAGMENT] = [96, 111, 4242, 90000, 30, 10000, 1200];
const SILENCE = Buffer.from([0xf8, 0xff, 0xfe]); // 20 ms of Opus
const layers = paths.map((path) => accessUnits(readFileSync(path)));
let warnings = [];
initLogger("Warning", (_, message) => warnings.push(message));

function accessUnits(data) {
  const found = [];
  for (let at = 0; at < data.length; at += 4 + found.at(-1).length) {
    found.push(data.subarray(at + 4, at + 4 + data.readUInt32BE(at)));
  }
  return found;
}

/** The connection's tracks, of sound and of pictures, and the clock of the latter's packets. */
function addMedia(connection) {
  const [audio, video] = [new Audio("0", "SendOnly"), new Video("1", "SendOnly")];
  audio.addOpusCodec(OPUS);
  audio.addSSRC(SSRC, "obs", "obs", "obs-audio");
  video.addSSRC(SSRC + 1, "obs", "obs", "obs-video");
  ["mid", "rtp-stream-id"].forEach((name, k) => video.parseSdpLine(`a=extmap:${k + 1} urn:ietf:params:rtp-hdrext:sdes:${name}`));
  if (layers.length > 1) {
    layers.forEach((_, rid) => video.parseSdpLine(`a=rid:${rid} send`));
    video.parseSdpLine(`a=simulcast:send ${[...layers.keys()].join(";")}`);
  }
  video.addH264Codec(H264);
  const [sound, picture] = [connection.addTrack(audio), connection.addTrack(video)];
  const clock = new RtpPacketizationConfig(SSRC + 1, "obs", H264, CLOCK);
  if (layers.length === 1) {
    const packetizer = new H264RtpPacketizer("StartSequence", clock, FRAGMENT);
    packetizer.addToChain(new RtcpSrReporter(clock));
    packetizer.addToChain(new RtcpNackResponder());
    picture.setMediaHandler(packetizer);
  }
  return [sound, picture, clock];
}

/** Send at the clip's rate, from its first key frame on; the timers that do it. */
function send(sound, picture, clock) {
  let number = 0;
  const heard = { ssrc: SSRC, type: OPUS, number: 0, time: 0 };
  const shown = layers.map((_, rid) => ({ ssrc: SSRC + 1 + rid, type: H264, number: 1000 * rid, time: 777 * rid, rid }));
  const showing = setInterval(() => {
    layers.forEach((units, rid) => {
      const unit = units[number % units.length];
      shown[rid].time = clock.timestamp = (shown[rid].time + CLOCK / FPS) >>> 0;
      if (layers.length === 1) picture.sendMessageBinary(unit);
      else packets(unit, shown[rid]).forEach((packet) => picture.sendMessageBinary(packet));
    });
    number++;
  }, 1000 / FPS);
  const hearing = setInterval(() => {
    heard.time += 960;
    sound.sendMessageBinary(packet(SILENCE, heard));
  }, 20);
  return [showing, hearing];
}

/** RTP (RFC 3550 §5.1), with its layer as a header extension (RFC 8852). */
function packet(payload, stream, marker = false) {
  const header = Buffer.alloc(12);
  header.writeUInt16BE((stream.rid === undefined ? 0x8000 : 0x9000) | (marker ? 0x80 : 0) | stream.type);
  header.writeUInt16BE(stream.number++ & 0xffff, 2);
  header.writeUInt32BE(stream.time >>> 0, 4);
  header.writeUInt32BE(stream.ssrc, 8);
  const layer = stream.rid === undefined ? [] : [0xbe, 0xde, 0, 1, 0x20, 0x30 + stream.rid, 0, 0];
  return Buffer.concat([header, Buffer.from(layer), payload]);
}

/** An access unit as packets: whole NAL units, and fragments of large ones (RFC 6184 §5.6, §5.8). */
function packets(unit, stream) {
  const payloads = [];
  for (const nal of nalUnits(unit)) {
    if (nal.length <= FRAGMENT) payloads.push(nal);
    else {
      for (let at = 1; at < nal.length; at += FRAGMENT) {
        const ends = (at === 1 ? 0x80 : 0) | (at + FRAGMENT >= nal.length ? 0x40 : 0);
        const head = Buffer.from([(nal[0] & 0x60) | 28, ends | (nal[0] & 0x1f)]);
        payloads.push(Buffer.concat([head, nal.subarray(at, at + FRAGMENT)]));
      }
    }
  }
  return payloads.map((payload, k) => packet(payload, stream, k === payloads.length - 1));
}

/** Between start codes. */
function nalUnits(unit) {
  const parts = unit.toString("latin1").split(/\0\0\0?\x01/);
  return parts.slice(1).map((part) => Buffer.from(part, "latin1"));
}

/** The stream's states: as it is, then as it changes. */
async function* states(signal) {
  const { body } = await fetch(`${server}/api/events`, { signal });
  let text = "";
  for await (const part of body.pipeThrough(new TextDecoderStream())) {
    const lines = (text + part).split("\n");
    text = lines.pop();
    yield* lines.filter((line) => line.startsWith("data: ")).map((line) => JSON.parse(line.slice(6)));
  }
}

async function offered(connection) {
  await new Promise((resolve) => {
    connection.onGatheringStateChange((state) => state === "complete" && resolve());
    connection.setLocalDescription();
  });
  return connection.localDescription().sdp;
}

async function post(offer) {
  const headers = { "Content-Type": "application/sdp" };
  const reply = await fetch(`${server}/live/live/whip`, { method: "POST", headers, body: offer });
  if (reply.status !== 201) throw new Error(`POST: ${reply.status} ${await reply.text()}`);
  return [await reply.text(), new URL(reply.headers.get("location"), server)];
}

/** One session, until its pictures arrive. */
async function publish() {
  const stop = new AbortController();
  const connection = new PeerConnection("obs", { iceServers: [], bindAddress: "127.0.0.1" });
  const [sound, picture, clock] = addMedia(connection);
  const failed = new Promise((_, reject) => {
    connection.onStateChange((state) => state === "failed" && reject(new Error("the connection failed")));
    setTimeout(reject, LIMIT_MS, new Error(`no picture within ${LIMIT_MS} ms`)).unref();
  });
  const opened = Promise.all([sound, picture].map((track) => new Promise((resolve) => track.onOpen(resolve))));
  const news = states(stop.signal);
  const before = (await news.next()).value.frames_in;
  const [answer, session] = await post(await offered(connection));
  let sending = [];
  let deleted;
  const live = async () => {
    connection.setRemoteDescription(answer, "answer");
    await opened;
    sending = send(sound, picture, clock);
    for await (const state of news) if (state.frames_in > before) return;
  };
  try {
    await Promise.race([live(), failed]);
  } finally {
    sending.forEach(clearInterval);
    stop.abort();
    deleted = await fetch(session, { method: "DELETE" });
    connection.close();
  }
  if (deleted.status !== 200) throw new Error(`DELETE: ${deleted.status}`);
}

const failures = [];
for (let number = 1; number <= Number(count); number++) {
  warnings = [];
  try {
    await publish();
  } catch (error) {
    failures.push(`${number}: ${error.message} (${warnings.join("; ")})`);
  }
}
console.log(JSON.stringify({ live: count - failures.length, failures }));
process.exit(); // the library's threads would keep the process
