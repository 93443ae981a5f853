// QR codes of links by which a phone drives the stream with its camera.

import { api, call } from "./control.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const QUIET = 4; // modules of white round a code

export async function showPhones() {
  const { links, minutes, problem } = await call("POST", `${api}/phone`);
  $("phones-problem").textContent = problem;
  $("phones-codes").replaceChildren(...links.slice(0, 1).flatMap((link) => shown(link, minutes)), ...others(links.slice(1)));
  $("phones").showModal();
}

function shown({ url, code }, minutes) {
  const secure = url.startsWith("https:");
  const warning = secure ? " The phone will warn you once about this server's own certificate: go on." : "";
  const link = Object.assign(document.createElement("a"), { href: url, textContent: url });
  return [picture(code), paragraph(`Scan this with the phone, and press Start camera there.${warning}`),
    paragraph(`The link works for ${minutes / 60} hours, and for this stream only: `, link)];
}

// Of networks that the first address is not in.
function others(links) {
  if (!links.length) return [];
  const each = links.map(({ url, interface: network, code }) => {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = `${new URL(url).hostname}${network && ` (${network})`}`;
    details.append(summary, picture(code));
    return details;
  });
  return [paragraph("If the phone is on another of this computer's networks:"), ...each];
}

function paragraph(...parts) {
  const made = document.createElement("p");
  made.append(...parts);
  return made;
}

function picture(code) {
  const side = code.length + 2 * QUIET;
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const squares = code.map((row, y) => [...row].map((dark, x) => (dark === "1" ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : "")).join(""));
  svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
  svg.setAttribute("shape-rendering", "crispEdges");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "QR code of the link below");
  path.setAttribute("d", squares.join(""));
  svg.append(path);
  return svg;
}
