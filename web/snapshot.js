// A portrait from the camera: a mirror, and the picture of the moment in which it is pressed.

const SIZE = { width: { ideal: 1920 }, height: { ideal: 1080 } };
const $ = (id) => document.getElementById(id);

// The picture as a file, or null where the user gives up. camera: whose picture is taken if it is on; else one is asked for.
export async function takePicture(camera) {
  const stream = camera.stream ?? (await camera.ask(SIZE, false));
  const [dialog, video] = [$("snapshot"), $("snapshot-picture")];
  video.srcObject = stream;
  dialog.showModal();
  const ended = new AbortController();
  const listen = (target, kind, work) => target.addEventListener(kind, work, { signal: ended.signal });
  try {
    return await new Promise((resolve, reject) => {
      // A stream's size is known before its first picture is there.
      const take = () => {
        if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) resolve(fileOf(video));
        else listen(video, "loadeddata", () => resolve(fileOf(video)));
      };
      listen($("snapshot-take"), "click", take);
      listen($("snapshot-cancel"), "click", () => resolve(null));
      listen(dialog, "cancel", () => resolve(null));
      listen(stream.getVideoTracks()[0], "ended", () => reject(new Error("The camera was unplugged, or another program took it.")));
    });
  } finally {
    ended.abort();
    dialog.close();
    video.srcObject = null;
    if (stream !== camera.stream) stream.getTracks().forEach((track) => track.stop());
  }
}

function fileOf(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(new File([blob], "camera.png", { type: "image/png" }))));
}
