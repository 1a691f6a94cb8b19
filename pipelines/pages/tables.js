"use strict";
// Sorts tables by the column whose header is clicked, and shows the rows that match the form above them.

const order = new Intl.Collator(undefined, { numeric: true });

function keyOf(cell, asNumber) {
  if (!asNumber) return cell.textContent;
  const text = cell.dataset.value ?? "";
  return text === "" ? NaN : Number(text);
}

function sortBy(table, head) {
  const asNumber = head.dataset.type === "number";
  const before = head.getAttribute("aria-sort");
  // First click: numbers descending, texts ascending.
  const rises = before ? before === "descending" : !asNumber;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[head.cellIndex], asNumber) }));
  rows.sort((one, other) => {
    if (!asNumber) return (rises ? 1 : -1) * order.compare(one.key, other.key);
    if (Number.isNaN(one.key) || Number.isNaN(other.key)) return Number.isNaN(one.key) - Number.isNaN(other.key);
    return (rises ? 1 : -1) * (one.key - other.key);
  });
  body.append(...rows.map(({ row }) => row));
  for (const cell of head.parentElement.cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rises ? "ascending" : "descending");
}

function filter(form) {
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
  const { text, ...wanted } = Object.fromEntries(new FormData(form));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const row of rows) {
    const content = row.textContent.toLowerCase();
    const fits = Object.entries(wanted).every(([name, value]) => !value || JSON.parse(row.dataset[name]).includes(value));
    row.hidden = !fits || !words.every((word) => content.includes(word));
    left += row.hidden ? 0 : 1;
  }
  form.querySelector("output").textContent = `${left} of ${rows.length} ${form.dataset.noun}`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button")?.addEventListener("click", () => sortBy(table, head));
  }
}

for (const form of document.querySelectorAll("form.filters")) {
  form.hidden = false;
  form.addEventListener("input", () => filter(form));
  form.addEventListener("reset", () => setTimeout(() => filter(form)));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(form);
}
