import { WebRTCPlayer } from "@eyevinn/webrtc-player";
import { WHIPClient } from "@eyevinn/whip-web-client";
import { WHEPClient } from "whip-whep/whep.js";
import * as medooze from "whip-whep/whip.js";

Object.assign(window, { WebRTCPlayer, WHIPClient, Medooze: { WHIPClient: medooze.WHIPClient, WHEPClient } });
