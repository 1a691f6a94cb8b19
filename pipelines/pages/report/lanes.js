"use strict";
// Small timelines in the table of videos, drawn when they come into view.

/** Ground truth above, detections below, as wide as the cell. */
function lane(video) {
  const duration = Math.max(video.duration, 1e-6);
  const bar = (start, end, y, style) =>
    svg("rect", { x: (100 * start) / duration, y, width: Math.max((100 * (end - start)) / duration, 0.6), height: 6, class: style });
  const truth = video.truth.map(([, start, end, hit]) => bar(start, end, 1, hit ? "truth" : "truth missed"));
  const found = video.found.map(([, start, end, , , right]) => bar(start, end, data.scored ? 9 : 5, right ? "found" : "wrong"));
  return svg("svg", { viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" }, ...truth, ...found);
}

const laneObserver = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    laneObserver.unobserve(target);
    target.querySelector(".lane").append(lane(byId.get(target.dataset.name)));
  }
}, { rootMargin: "400px" });
for (const row of document.querySelectorAll("#video-table tbody tr")) laneObserver.observe(row);
