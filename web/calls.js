// The switches of what calls take for a camera and a microphone.

const $ = (id) => document.getElementById(id);
const OVER = ["ended", "failed"];
const KINDS = {
  virtual_camera: {
    off: "Zoom, Meet, Teams, Discord and OBS then list the puppet among this computer's cameras.",
    live: "On. Choose it in your call as the camera.",
    opening: "Opening the camera…",
  },
  virtual_microphone: {
    off: "The sound, delayed by as much as the picture, for calls.",
    live: "On. Choose it in your call as the microphone.",
    opening: "Opening the microphone…",
  },
};

export class Calls {
  constructor(control, attempt) {
    this.control = control;
    for (const kind of Object.keys(KINDS)) {
      $(kind).addEventListener("change", attempt(() => control.send({ [kind]: $(kind).checked })));
    }
  }

  render({ outputs }) {
    for (const [kind, words] of Object.entries(KINDS)) {
      const output = outputs.find((each) => each.kind === kind);
      $(kind).checked = this.control.wanted.get(kind)?.[0] ?? Boolean(output && !OVER.includes(output.state));
      tell($(`${kind}-state`), output, words);
    }
  }
}

// Written where it differs alone: it is read out when it changes.
function tell(line, output, words) {
  const wrong = Boolean(output?.detail) && output.state !== "live";
  const why = wrong && output.detail.replace(`${output.name}: `, "");
  const again = output?.state === "failed" ? "" : " It keeps trying.";
  const text = wrong ? `${why[0].toUpperCase()}${why.slice(1)}.${again}` : !output ? words.off : words[output.state] ?? words.opening;
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("bad", wrong);
}
