// Publishes by WHIP as OBS does, with its WebRTC stack (libdatachannel): obs.mjs SERVER ACCESS_UNITS COUNT
//
// COUNT sessions, one after the other, each until its pictures have arrived. ACCESS_UNITS: H.264, before each its length
// (4 bytes, big-endian). Prints JSON: how many sessions went live, and why the others failed.
import { readFileSync } from "node:fs";
import {
  Audio, H264RtpPacketizer, PeerConnection, RtcpNackResponder, RtcpSrReporter, RtpPacketizationConfig, Video, initLogger,
} from "node-datachannel";

const [server, path, count] = process.argv.slice(2);
const [H264, OPUS, SSRC, CLOCK, FPS, LIMIT_MS] = [96, 111, 4242, 90000, 30, 10000];
const units = accessUnits(readFileSync(path));
let warnings = [];
initLogger("Warning", (_, message) => warnings.push(message));

function accessUnits(data) {
  const found = [];
  for (let at = 0; at < data.length; at += 4 + found.at(-1).length) {
    found.push(data.subarray(at + 4, at + 4 + data.readUInt32BE(at)));
  }
  return found;
}

/** The connection's picture: a track, and the clock of its packets. */
function addMedia(connection) {
  const [audio, video] = [new Audio("0", "SendOnly"), new Video("1", "SendOnly")];
  audio.addOpusCodec(OPUS);
  audio.addSSRC(SSRC, "obs", "obs", "obs-audio");
  connection.addTrack(audio);
  video.addH264Codec(H264);
  video.addSSRC(SSRC + 1, "obs", "obs", "obs-video");
  const track = connection.addTrack(video);
  const clock = new RtpPacketizationConfig(SSRC + 1, "obs", H264, CLOCK);
  const packetizer = new H264RtpPacketizer("StartSequence", clock, 1200);
  packetizer.addToChain(new RtcpSrReporter(clock));
  packetizer.addToChain(new RtcpNackResponder());
  track.setMediaHandler(packetizer);
  return [track, clock];
}

/** Send at the clip's rate, from its first key frame on; the timer that does it. */
function send(track, clock) {
  let number = 0;
  return setInterval(() => {
    clock.timestamp = (clock.timestamp + CLOCK / FPS) >>> 0;
    track.sendMessageBinary(units[number++ % units.length]);
  }, 1000 / FPS);
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
  const [track, clock] = addMedia(connection);
  const failed = new Promise((_, reject) => {
    connection.onStateChange((state) => state === "failed" && reject(new Error("the connection failed")));
    setTimeout(reject, LIMIT_MS, new Error(`no picture within ${LIMIT_MS} ms`)).unref();
  });
  const opened = new Promise((resolve) => track.onOpen(resolve));
  const news = states(stop.signal);
  const before = (await news.next()).value.frames_in;
  const [answer, session] = await post(await offered(connection));
  let sending, deleted;
  const live = async () => {
    connection.setRemoteDescription(answer, "answer");
    await opened;
    sending = send(track, clock);
    for await (const state of news) if (state.frames_in > before) return;
  };
  try {
    await Promise.race([live(), failed]);
  } finally {
    clearInterval(sending);
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
