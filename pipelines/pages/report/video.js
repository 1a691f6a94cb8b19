"use strict";
// One video: its player, timeline, segments as a table, and texts.

const data = JSON.parse(document.getElementById("data").textContent);
const place = document.getElementById("video");
const byId = new Map(data.videos.map((video) => [video.id, video]));
const MOST_CLASSES = 4; // drawn at first
const HIGH = 0.5; // T-CAM from which a class is drawn at first
let observer = null;

const amount = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

function barsOf(video, label, further) {
  const name = data.classes[label];
  const span = (start, end) => `${start.toFixed(2)} to ${seconds(end)}`;
  const detection = (style) => ([, start, end, score, tiou, right]) => ({
    start, end, score, tiou,
    style: style ?? (right ? "found" : "wrong"),
    shown: score.toFixed(2),
    title: `${name}: ${span(start, end)}, score ${score.toFixed(3)}${tiou === null ? "" : `, tIoU ${tiou.toFixed(2)}`}`,
  });
  const mine = (rows) => rows.filter(([its]) => its === label);
  return {
    label: name,
    truth: mine(video.truth).map(([, start, end, hit]) => ({ start, end, hit, title: `ground truth ${name}: ${span(start, end)}` })),
    found: mine(video.found).map(detection()),
    further: further ? mine(video.further).map(detection("further")) : [],
    tcam: unpack(video.tcam[label]),
  };
}

/** Classes with anything to show: labels of the video, detected classes, then the others by their highest T-CAM. */
function classesOf(video) {
  const highest = Object.entries(video.tcam).sort(([, one], [, other]) => (other?.[0] ?? 0) - (one?.[0] ?? 0));
  const all = [...video.labels, ...video.found.map(([label]) => label), ...highest.map(([label]) => Number(label))];
  return [...new Set(all)];
}

/** The labels of the video, and a few other classes that are detected in it or have a high T-CAM. */
function firstClasses(video) {
  const found = new Set(video.found.map(([label]) => label));
  const likely = (label) => found.has(label) || (video.tcam[label]?.[0] ?? 0) >= HIGH;
  const others = classesOf(video).filter((label) => !video.labels.includes(label) && likely(label));
  return [...video.labels, ...others.slice(0, Math.max(MOST_CLASSES - video.labels.length, 0))];
}

function valueAt(video, curve, time) {
  if (!curve || curve.values.length === 0) return null;
  const at = Math.round((time - video.offset) / video.step);
  return curve.values[Math.min(Math.max(at, 0), curve.values.length - 1)];
}

function readAt(video, lanes, attentions, time) {
  const inside = (bars) => bars.filter(({ start, end }) => start <= time && time <= end);
  const number = (value) => (value === null ? "–" : value.toFixed(2));
  const parts = lanes.map((lane) => {
    const found = inside([...lane.found, ...lane.further]);
    const facts = [];
    if (inside(lane.truth).length) facts.push("ground truth");
    if (found.length) facts.push(`detection ${found.map(({ score }) => score.toFixed(2)).join(", ")}`);
    if (lane.tcam) facts.push(`T-CAM ${number(valueAt(video, lane.tcam, time))}`);
    return [lane.label, facts.join(" · ") || "nothing"];
  });
  for (const curve of attentions) parts.push([curve.name, number(valueAt(video, curve, time))]);
  return parts;
}

function timelinePart(video, player) {
  const chosen = new Set(firstClasses(video));
  const box = html("div", { class: "stage", tabindex: 0, role: "slider", "aria-label": "time in the video" });
  const readout = html("div", { class: "readout", id: "readout" });
  const switches = html("div", { class: "switches", role: "group", "aria-label": "classes that are drawn" });
  const attentions = [["A_KSM", "ksm"], ["A_CSR", "csr"]]
    .map(([name, style]) => ({ name, style, ...unpack(video[style]) }))
    .filter(({ values }) => values);
  const truth = video.truth.map(([, start, end]) => ({ start, end }));
  let lanes = [];
  let timeline = null;
  let now = 0;
  let further = false;

  function point(time) {
    now = Math.min(Math.max(time, 0), timeline.duration);
    timeline.point(now);
    const parts = readAt(video, lanes, attentions, now);
    const clock = html("b", { class: "clock" }, `${now.toFixed(2)} s`);
    readout.replaceChildren(clock, ...parts.map(([name, value]) => html("span", {}, html("i", {}, name), ` ${value}`)));
    box.setAttribute("aria-valuenow", now.toFixed(2));
    box.setAttribute("aria-valuetext", [`${now.toFixed(2)} seconds`, ...parts.map((part) => part.join(": "))].join("; "));
  }

  function draw() {
    lanes = classesOf(video).filter((label) => chosen.has(label)).map((label) => barsOf(video, label, further));
    timeline = new Timeline(video, Math.max(box.clientWidth, 280));
    timeline.pictures();
    for (const lane of lanes) timeline.ofClass(lane);
    timeline.attention(attentions, truth);
    timeline.axis();
    box.replaceChildren(timeline.node);
    box.setAttribute("aria-valuemin", 0);
    box.setAttribute("aria-valuemax", timeline.duration.toFixed(2));
    point(now);
  }

  function choice(text, on, change, style = "") {
    const input = html("input", { type: "checkbox" });
    input.checked = on;
    input.addEventListener("change", () => {
      change(input.checked);
      draw();
    });
    return html("label", { class: style }, input, text);
  }

  const go = (time) => {
    point(time);
    if (player) player.currentTime = now;
  };
  const moves = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
  box.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    go(now + moves[event.key] * video.step);
  });
  const under = (event) => timeline.time(event.clientX - timeline.node.getBoundingClientRect().left);
  box.addEventListener("pointermove", (event) => point(under(event)));
  box.addEventListener("click", (event) => go(under(event)));
  if (player) {
    box.addEventListener("pointerleave", () => point(player.currentTime));
    player.addEventListener("timeupdate", () => point(player.currentTime));
  }
  for (const label of classesOf(video)) {
    const change = (on) => (on ? chosen.add(label) : chosen.delete(label));
    switches.append(choice(data.classes[label], chosen.has(label), change));
  }
  if (video.further.length) switches.append(choice("show detections below the threshold", false, (on) => (further = on), "apart"));
  const legend = document.getElementById("legend").content.cloneNode(true);
  const mean = video.snippets > 1 ? [html("p", {}, `Each point of a curve is the mean of ${video.snippets} snippets.`)] : [];
  return { nodes: [switches, box, readout, legend, ...mean], draw, box };
}

function numbersPart(video) {
  const rows = [
    ...video.truth.map(([label, start, end, hit]) => [label, start, end, hit ? "ground truth, detected" : "ground truth, missed", "", ""]),
    ...video.found.map(([label, start, end, score, tiou, right]) => [label, start, end, data.scored ? (right ? "true positive" : "false positive") : "detection", score.toFixed(3), tiou === null ? "" : tiou.toFixed(2)]),
  ].sort((one, other) => one[1] - other[1]);
  const cells = ([label, start, end, ...rest]) => [start.toFixed(2), end.toFixed(2), ...rest].map((text) => html("td", {}, text));
  const body = rows.map((row) => html("tr", {}, html("th", { scope: "row" }, data.classes[row[0]]), ...cells(row)));
  const heads = ["class", "start [s]", "end [s]", "kind", "score", "best tIoU"].map((name) => html("th", { scope: "col" }, name));
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...body));
  return html("details", {}, html("summary", {}, "As a table"), html("div", { class: "wide" }, table));
}

function said(label, { video, key, complete }, ofClass) {
  const pieces = (texts) => texts.map((text, k) => (k % 2 ? html("mark", {}, text) : text));
  const from = ofClass ? [html("span", { class: "kind" }, `in training video ${video}`)] : [];
  return html(
    "div", { class: "said" },
    html("div", { class: "head" }, html("b", {}, data.classes[label]), ...from),
    html("p", {}, html("span", { class: "kind" }, "key "), ...pieces(key)),
    html("p", {}, html("span", { class: "kind" }, "complete "), ...pieces(complete)),
  );
}

function textsPart(video) {
  const own = video.priors.map((priors) => said(priors.label, priors, false));
  if (own.length) return [html("h2", {}, "Descriptions of this video (captioning model)"), ...own];
  const labels = video.labels.length ? video.labels : firstClasses(video);
  const of = labels.flatMap((label) => (data.priors[label] ?? []).map((priors) => said(label, priors, true)));
  if (!of.length) return [];
  const note = "Test videos have no descriptions; these are of training videos with the same classes.";
  return [html("h2", {}, "Descriptions of these classes (captioning model)"), html("p", {}, note), ...of];
}

function playerOf(video, problems) {
  if (!video.player) return null;
  const player = html("video", { controls: "", preload: "metadata", src: video.player });
  player.addEventListener("error", () => problems.append(`The file ${video.player} cannot be played.`));
  const track = player.addTextTrack("subtitles", "detections", "en");
  track.mode = "showing";
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;"); // cues have markup of their own
  for (const [label, start, end, score] of video.found) {
    track.addCue(new VTTCue(start, end, plain(`${data.classes[label]} ${score.toFixed(2)}`)));
  }
  return player;
}

/** Fill the page with a video, below its links; returns its heading. */
function fill(video, links) {
  const problems = html("p", { class: "problem" }, video.problem);
  const player = playerOf(video, problems);
  const found = video.truth.filter(([, , , hit]) => hit).length;
  const facts = [seconds(video.duration), video.labels.map((label) => data.classes[label]).join(", ")];
  if (data.scored) {
    const wrong = video.found.filter(([, , , , , right]) => !right).length;
    const ofAll = `${found} of ${amount(video.truth.length, "ground-truth instance")} detected`;
    facts.push(`F1 ${Math.round(100 * video.f1)}`, ofAll, amount(wrong, "false positive"));
  } else {
    facts.push(amount(video.found.length, "detection"));
  }
  const heading = html("h1", { tabindex: -1 }, video.id);
  const part = timelinePart(video, player);
  const facing = html("p", {}, facts.filter(Boolean).join(" · "));
  place.replaceChildren(links, heading, facing, problems, ...(player ? [player] : []), ...part.nodes, numbersPart(video), ...textsPart(video));
  problems.hidden = !video.problem;
  new MutationObserver(() => (problems.hidden = false)).observe(problems, { childList: true });
  place.hidden = false;
  part.draw();
  observer?.disconnect();
  observer = new ResizeObserver(() => part.draw());
  observer.observe(place);
  return heading;
}
