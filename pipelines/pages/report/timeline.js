"use strict";
// The timeline of one video: frames, for each chosen class ground truth, detections and T-CAM, then the attentions.

const LANE = { picture: 84, bar: 14, curve: 48, gap: 6 };
const MOST_ROWS = 5;

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // strings become text, never markup
  return node;
}

const html = (name, attributes = {}, ...children) => make(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
const seconds = (value) => `${value.toFixed(1)} s`;

/** Values of a packed curve: its maximum, and one byte per point. */
function unpack(packed) {
  if (!packed) return null;
  const [top, bytes] = packed;
  return { top, values: Array.from(atob(bytes), (sign) => (sign.charCodeAt(0) / 255) * top) };
}

function shorten(text, width) {
  const most = Math.max(Math.floor(width / 7.2), 3);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** Round seconds, at most as many as fit. */
function ticks(duration, width) {
  const rough = duration / Math.max(width / 70, 2);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough - 1e-9);
  return Array.from({ length: Math.floor(duration / step + 1e-9) + 1 }, (_, k) => Number((k * step).toFixed(6)));
}

/** For each bar the first row without overlap; bars that fit in no row share the last one. */
function pack(bars) {
  const free = [];
  const rows = new Map();
  for (const bar of [...bars].sort((one, other) => one.start - other.start)) {
    const first = free.findIndex((end) => end <= bar.start);
    const row = Math.min(first < 0 ? free.length : first, MOST_ROWS - 1);
    free[row] = Math.max(bar.end, free[row] ?? 0);
    rows.set(bar, row);
  }
  return { rows, count: Math.max(free.length, 1) };
}

class Timeline {
  constructor(video, width) {
    this.video = video;
    this.width = width;
    this.narrow = width < 560;
    this.left = this.narrow ? 50 : 118;
    this.right = width - 10;
    this.duration = Math.max(video.duration, 1e-6);
    this.top = 4;
    this.node = svg("svg", { class: "timeline", width, role: "presentation" });
  }

  x(time) {
    return this.left + Math.min(Math.max(time / this.duration, 0), 1) * (this.right - this.left);
  }

  time(x) {
    return Math.min(Math.max((x - this.left) / (this.right - this.left), 0), 1) * this.duration;
  }

  add(name, attributes, ...children) {
    const node = svg(name, attributes, ...children);
    this.node.append(node);
    return node;
  }

  text(x, y, text, style) {
    return this.add("text", { x, y, class: style }, text);
  }

  pictures() {
    const all = this.video.pictures;
    if (all.length === 0) return;
    const wide = (this.right - this.left) / all.length;
    const tall = Math.min(Math.max(wide, 36), LANE.picture);
    all.forEach((href, place) => {
      const box = { x: this.left + place * wide + 1, y: 0, width: wide - 2, height: tall };
      const time = seconds(((place + 0.5) / all.length) * this.duration);
      this.add("image", { href, ...box, preserveAspectRatio: "xMidYMid slice" }, svg("title", {}, `frame at ${time}`));
    });
    this.top = tall + 10;
  }

  bar(bar, top, style) {
    const x = this.x(bar.start);
    const width = Math.max(this.x(bar.end) - x, 2);
    const box = { x, y: top, width, height: LANE.bar, rx: 2, class: style };
    this.add("rect", box, svg("title", {}, bar.title));
    if (bar.shown && width > 30) this.text(x + width / 2, top + 11, bar.shown, `inside ${style}`);
  }

  rows(bars) {
    const { rows, count } = pack(bars);
    for (const [bar, row] of rows) this.bar(bar, this.top + row * (LANE.bar + 2), bar.style);
    this.top += count * (LANE.bar + 2);
  }

  rowName(name, baseline) {
    this.text(this.narrow ? 0 : 12, baseline, name, "row");
  }

  ofClass({ label, truth, found, further, tcam }) {
    this.text(0, this.top + 13, shorten(label, this.width), "name").append(svg("title", {}, label));
    this.top += 20;
    if (truth.length) {
      this.rowName(this.narrow ? "GT" : "ground truth", this.top + 11);
      for (const bar of truth) this.bar(bar, this.top, bar.hit ? "truth" : "truth missed");
      this.top += LANE.bar + LANE.gap;
    }
    if (truth.length || found.length || further.length) {
      this.rowName(this.narrow ? "det." : "detections", this.top + 11);
      if (!found.length) this.text(this.left, this.top + 11, "no detection above the score threshold", "tick");
      this.rows(found);
      if (further.length) this.rows(further);
      this.top += 4;
    }
    if (tcam) this.curves([{ name: "T-CAM", style: "tcam", ...tcam }], truth, true);
    this.top += LANE.gap;
  }

  /** Curves in one lane whose top is their maximum (at least 0.5), over the ground truth as a pale band. */
  curves(curves, truth, filled) {
    const high = Math.max(0.5, ...curves.map(({ top }) => top));
    const floor = this.top + LANE.curve;
    for (const { start, end } of truth) {
      const box = { x: this.x(start), y: this.top, width: this.x(end) - this.x(start), height: LANE.curve };
      this.add("rect", { ...box, class: "band" });
    }
    for (const y of [this.top, floor]) this.add("line", { x1: this.left, x2: this.right, y1: y, y2: y, class: "grid" });
    if (!this.narrow) {
      this.text(this.left - 6, this.top + 8, high.toFixed(2), "tick end");
      this.text(this.left - 6, floor, "0", "tick end");
    }
    curves.forEach(({ name, style, values }, place) => {
      const level = this.top + 22 + 16 * place;
      if (!this.narrow) this.add("line", { x1: 12, x2: 26, y1: level - 4, y2: level - 4, class: `curve ${style}` });
      this.text(this.narrow ? 0 : 32, level, name, this.narrow ? `row ${style}` : "row");
      const { offset, step } = this.video;
      const at = values.map((value, k) => `${this.x(offset + k * step).toFixed(1)},${(floor - (value / high) * LANE.curve).toFixed(1)}`);
      const ends = [this.x(offset), this.x(offset + (values.length - 1) * step)].map((x) => x.toFixed(1));
      if (filled) {
        const area = `${ends[0]},${floor} ${at.join(" ")} ${ends[1]},${floor}`;
        this.add("polygon", { points: area, class: `area ${style}` });
      }
      this.add("polyline", { points: at.join(" "), class: `curve ${style}` });
    });
    this.top = floor + LANE.gap;
  }

  attention(curves, truth) {
    if (curves.length === 0) return;
    this.text(0, this.top + 13, "Attention", "name");
    this.top += 20;
    this.curves(curves, truth, false);
  }

  axis() {
    this.top += 2;
    this.add("line", { x1: this.left, x2: this.right, y1: this.top, y2: this.top, class: "axis" });
    for (const second of ticks(this.duration, this.right - this.left)) {
      const x = this.x(second);
      this.add("line", { x1: x, x2: x, y1: this.top, y2: this.top + 4, class: "axis" });
      this.text(x, this.top + 17, `${second} s`, "tick middle");
    }
    this.height = this.top + 22;
    this.node.setAttribute("height", this.height);
    this.node.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    for (const [start, end] of this.video.ambiguous) {
      const box = { x: this.x(start), y: 0, width: this.x(end) - this.x(start), height: this.top, class: "ambiguous" };
      this.node.prepend(svg("rect", box, svg("title", {}, `ambiguous: ${start} to ${seconds(end)}`)));
    }
    this.cursor = this.add("line", { y1: 0, y2: this.top + 4, class: "cursor" });
  }

  point(time) {
    this.cursor.setAttribute("x1", this.x(time));
    this.cursor.setAttribute("x2", this.x(time));
  }
}
