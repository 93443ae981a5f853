import { WebRTCPlayer } from "@eyevinn/webrtc-player";
import { WHIPClient } from "@eyevinn/whip-web-client";

Object.assign(window, { WebRTCPlayer, WHIPClient });
