"use strict";
// Shows the descriptions that match the filters. The filters are part of the URL, so that a view can be shared.
const bar = document.getElementById("filters");
const count = document.getElementById("count");
const cards = [...document.querySelectorAll("article")].map((card) => ({
  card,
  rows: [...card.querySelectorAll(".said")].map((row) => ({
    row,
    data: row.dataset,
    flags: row.dataset.flags.split(" ").filter(Boolean),
    text: `${card.dataset.video} ${row.textContent}`.toLowerCase(),
  })),
}));
const total = cards.reduce((sum, { rows }) => sum + rows.length, 0);

function fits({ data, flags, text }, wanted) {
  if (wanted.class && data.class !== wanted.class) return false;
  if (wanted.kind && data.kind !== wanted.kind) return false;
  if (wanted.status && data.status !== wanted.status) return false;
  if (wanted.flag === "any" && flags.length === 0) return false;
  if (wanted.flag === "none" && flags.length > 0) return false;
  if (wanted.flag && !["any", "none"].includes(wanted.flag) && !flags.includes(wanted.flag)) return false;
  return wanted.text.split(/\s+/).every((word) => text.includes(word));
}

function show() {
  const wanted = Object.fromEntries([...new FormData(bar)].map(([name, value]) => [name, value]));
  wanted.text = wanted.text.toLowerCase().trim();
  let rows = 0;
  let videos = 0;
  for (const one of cards) {
    let left = 0;
    for (const item of one.rows) {
      item.row.hidden = !fits(item, wanted);
      left += item.row.hidden ? 0 : 1;
    }
    one.card.hidden = left === 0;
    rows += left;
    videos += left > 0 ? 1 : 0;
  }
  count.textContent = `${rows} of ${total} descriptions, ${videos} of ${cards.length} videos`;
}

function write() {
  const chosen = new URLSearchParams([...new FormData(bar)].filter(([, value]) => value));
  history.replaceState(null, "", chosen.size ? `#${chosen}` : location.pathname + location.search);
  show();
}

function read() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  for (const field of bar.elements) if (field.name) field.value = chosen.get(field.name) ?? "";
  show();
}

bar.hidden = false;
bar.addEventListener("input", write);
bar.addEventListener("reset", () => setTimeout(write));
bar.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", read);
read();
