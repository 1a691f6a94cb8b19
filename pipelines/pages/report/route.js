"use strict";
// Shows the video that the URL names (#video/ID) instead of the overview.

const overview = document.getElementById("overview");
const pageTitle = document.title;
let scrolled = 0;
let shown = null;

const address = (id) => `#video/${encodeURIComponent(id)}`;
const named = (id) => {
  try {
    return byId.get(decodeURIComponent(id));
  } catch {
    return undefined; // not every text is an encoded id
  }
};

function neighbours(video) {
  const rows = [...document.querySelectorAll("#video-table tbody tr")].filter((row) => !row.hidden);
  const at = rows.findIndex((row) => row.dataset.name === video.id);
  const link = (row, text, rel) => (row ? [html("a", { href: address(row.dataset.name), rel }, text)] : []);
  const back = html("a", { href: "#videos", id: "back" }, "All videos");
  return html("nav", {}, back, ...(at < 0 ? [] : [...link(rows[at - 1], "← previous", "prev"), ...link(rows[at + 1], "next →", "next")]));
}

function show(video) {
  if (shown === null) scrolled = scrollY;
  shown = video;
  overview.hidden = true;
  const heading = fill(video, neighbours(video));
  document.title = `${video.id} · ${pageTitle}`;
  scrollTo(0, 0);
  heading.focus({ preventScroll: true });
}

function hide() {
  if (shown === null) return;
  const row = [...document.querySelectorAll("#video-table tbody tr")].find((one) => one.dataset.name === shown.id);
  observer?.disconnect();
  shown = null;
  place.replaceChildren();
  place.hidden = true;
  overview.hidden = false;
  document.title = pageTitle;
  scrollTo(0, scrolled);
  row?.querySelector("a").focus({ preventScroll: true });
}

function route() {
  const wanted = /^#video\/(.*)$/s.exec(location.hash);
  const video = wanted ? named(wanted[1]) : undefined;
  if (video) show(video);
  else hide();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shown) location.hash = "videos";
});
addEventListener("hashchange", route);
route();
