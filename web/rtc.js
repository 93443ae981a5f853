// WHIP (RFC 9725) and WHEP: one POST with the offer, the answer comes back, DELETE ends the session.

const GOODBYE_MS = 3000; // a server that is gone has nothing to say

// A server that wants a token gets the one in the page's address: …/#token=TOKEN or …/?token=TOKEN
const given = (part) => new URLSearchParams(part.slice(1)).get("token");
const token = given(location.hash) || given(location.search);

export const authorized = (headers = {}) => (token ? { ...headers, Authorization: `Bearer ${token}` } : headers);
export const withToken = (url) => (token ? `${url}${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}` : url);

// TURN and STUN servers that the server names (RFC 9725 §4.6).
async function iceServers(url) {
  const reply = await fetch(url, { headers: authorized() }).catch(() => null);
  return [...(reply?.headers.get("Link") || "").matchAll(/<([^>]+)>;([^<]*)/g)]
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
    throw new Error((await reply.json().catch(() => ({}))).detail || `the server answered ${reply.status}`);
  }
  await pc.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  return reply.headers.get("Location");
}

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
    setTimeout(resolve, 1500); // a slow interface must not hold up the rest
  });
}

// A peer connection with its session; onlost is called once when the connection ends by itself, with the server's code
// for what has become of the session, where it has one: a promise.
class Link {
  constructor(onlost, servers) {
    this.pc = new RTCPeerConnection({ iceServers: servers });
    this.location = null;
    this.pc.addEventListener("connectionstatechange", () => {
      if (["failed", "closed", "disconnected"].includes(this.pc.connectionState) && !this.ended) onlost(this.end());
    });
  }

  async open(url) {
    try {
      this.location = await negotiate(this.pc, url);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  end() {
    this.ended = true;
    this.pc.close();
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
  await link.open(url + query);
  return link;
}

export async function watch(url, video, onlost) {
  const link = new Link(onlost, await iceServers(url));
  const transceiver = link.pc.addTransceiver("video", { direction: "recvonly" });
  if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
  link.pc.addTransceiver("audio", { direction: "recvonly" });
  link.channel = link.pc.createDataChannel("control");
  const shown = new MediaStream();
  link.pc.addEventListener("track", (event) => {
    shown.addTrack(event.track);
    if (video.srcObject !== shown) video.srcObject = shown;
  });
  await link.open(url);
  return link;
}
