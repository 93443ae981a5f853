// While the page is a mirror, its label would be in mirror writing: what the picture shows there is laid over it, the right way
// round.
export class Letters {
  constructor(video, canvas) {
    this.video = video;
    this.canvas = canvas;
    this.at = null;
  }

  // at: x, y, width and height of the label in the picture; null where nothing is to be laid over.
  show(at) {
    const waits = this.at;
    this.at = at;
    this.canvas.hidden = !at;
    if (at && !waits) this.next();
  }

  next() {
    if (!this.at || !this.video.requestVideoFrameCallback) return;
    this.draw(this.at);
    this.video.requestVideoFrameCallback(() => this.next());
  }

  draw([x, y, width, height]) {
    const { video, canvas } = this;
    const scale = Math.min(video.clientWidth / video.videoWidth, video.clientHeight / video.videoHeight) || 0;
    const left = (video.clientWidth - scale * video.videoWidth) / 2 + scale * (video.videoWidth - x - width);
    const top = (video.clientHeight - scale * video.videoHeight) / 2 + scale * y;
    Object.assign(canvas.style, { left: `${left}px`, top: `${top}px`, width: `${scale * width}px`, height: `${scale * height}px` });
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(video, x, y, width, height, 0, 0, width, height);
  }
}
