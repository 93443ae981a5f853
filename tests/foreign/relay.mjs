// Watches by WHEP and publishes what comes by WHIP, with werift, a WebRTC stack in TypeScript: relay.mjs WHEP WHIP
//
// Runs until its input ends.
import { RTCPeerConnection, RTCRtpCodecParameters } from "werift";

const [source, target] = process.argv.slice(2);
const feedback = ["nack", "nack pli", "goog-remb"].map((each) => each.split(" "));
const vp8 = () => new RTCRtpCodecParameters({
  mimeType: "video/VP8",
  clockRate: 90000,
  rtcpFeedback: feedback.map(([type, parameter]) => ({ type, parameter })),
});
const connection = () => new RTCPeerConnection({ codecs: { video: [vp8()] }, iceServers: [] });

async function negotiate(peer, url) {
  await peer.setLocalDescription(await peer.createOffer());
  const headers = { "Content-Type": "application/sdp" };
  const reply = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
  if (reply.status !== 201) throw new Error(`${url}: ${reply.status} ${await reply.text()}`);
  await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  return new URL(reply.headers.get("Location"), url);
}

const [viewer, publisher] = [connection(), connection()];
const watched = viewer.addTransceiver("video", { direction: "recvonly" });
const come = new Promise((resolve) => watched.onTrack.subscribe(resolve));
const sessions = [await negotiate(viewer, source)];
const track = await come;
publisher.addTransceiver(track, { direction: "sendonly" });
sessions.push(await negotiate(publisher, target));
const key = () => watched.receiver.sendRtcpPLI(track.ssrc); // who joins later needs one
key();
const asking = setInterval(key, 500);

process.stdin.resume();
await new Promise((resolve) => process.stdin.on("end", resolve));
clearInterval(asking);
for (const session of sessions) await fetch(session, { method: "DELETE" });
process.exit();
